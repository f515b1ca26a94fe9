import { randomUUID } from 'node:crypto';
import { isCertainlyDead, type Logger, ownIdentity, type ProcessIdentity } from '../../core/plugin.ts';
import type { RedisClients } from './clients.ts';
import { isFenced, ownerContended, volumeOwned } from './errors.ts';
import type { KeySpace } from './keys.ts';

/** How long a holder counts without saying so again, and how often it does. Milliseconds. */
const HOLD_MS = 30_000;
const RENEW_MS = 10_000;

interface Holder {
  readonly nonce: string;
  readonly disk: string;
  readonly since: string;
  readonly process: ProcessIdentity;
}

/** For a person; undefined when nobody has the volume open. */
export async function describeHolder(clients: RedisClients, keys: KeySpace): Promise<string | undefined> {
  const text = await clients.reader.get(keys.holder);
  return text === null ? undefined : describe(JSON.parse(text) as Holder);
}

function describe({ disk, since, process: { host, pid } }: Holder): string {
  return `disk "${disk}" of pid ${pid} on ${host}, since ${since}`;
}

/**
 * The right to write to a volume. Every shard's owner key holds our epoch and nonce, and the server itself refuses changes
 * by anybody else: whoever had the volume before, and wakes up, changes nothing. The holder key is for people, and keeps a
 * second gateway from taking a volume that is in use by mistake.
 */
export class Ownership implements AsyncDisposable {
  readonly #clients: RedisClients;
  readonly #keys: KeySpace;
  readonly #nonce: string;
  readonly #holder: string;
  readonly epoch: number;
  #claims = 0;
  readonly #timer: NodeJS.Timeout;

  private constructor(clients: RedisClients, keys: KeySpace, nonce: string, holder: string, epoch: number) {
    this.#clients = clients;
    this.#keys = keys;
    this.#nonce = nonce;
    this.#holder = holder;
    this.epoch = epoch;
    this.#timer = setInterval(() => void this.#renew().catch(() => undefined), RENEW_MS);
    this.#timer.unref();
  }

  /** What the owner keys hold. */
  get token(): string {
    return `${this.epoch}:${this.#nonce}.${this.#claims}`;
  }

  /** Throws `volume.owned` or `volume.owner-contended`. */
  static async acquire(
    clients: RedisClients,
    keys: KeySpace,
    options: { readonly disk: string; readonly takeOver: boolean; readonly logger: Logger },
  ): Promise<Ownership> {
    const nonce = randomUUID();
    const own: Holder = {
      nonce,
      disk: options.disk,
      since: new Date().toISOString(),
      process: ownIdentity(),
    };
    const holder = JSON.stringify(own);
    const text = await clients.writer.bgHold(keys.holder, nonce, holder, HOLD_MS);
    if (text !== null) {
      const other = JSON.parse(text) as Holder;
      const isDead = isCertainlyDead(other.process);
      if (!isDead && !options.takeOver) throw volumeOwned(keys.volume, describe(other));
      options.logger.warn(isDead ? 'the last owner of the volume is dead' : 'taking the volume over', {
        from: describe(other),
      });
      await clients.writer.set(keys.holder, holder, 'PX', HOLD_MS);
    }
    let latest = 0;
    for (let shard = 0; shard < keys.shards; shard++)
      latest = Math.max(latest, Number.parseInt((await clients.reader.get(keys.owner(shard))) ?? '0', 10));
    const ownership = new Ownership(clients, keys, nonce, holder, latest + 1);
    try {
      await ownership.assert();
      return ownership;
    } catch (error) {
      await ownership[Symbol.asyncDispose]();
      throw isFenced(error) ? ownerContended(keys.volume) : error;
    }
  }

  /**
   * Every shard is ours, also on a server that has not heard of it yet. What we have sent before, on connections that were
   * given up, is refused from then on: a server that was held up may come to it late. Fails as the scripts do.
   */
  async assert(): Promise<void> {
    const claims = ++this.#claims;
    const shards = Array.from({ length: this.#keys.shards }, (_, shard) => shard);
    await Promise.all(
      shards.map((shard) =>
        this.#clients.writer.bgClaim(this.#keys.owner(shard), this.epoch, this.#nonce, claims),
      ),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#clients.writer.bgRelease(this.#keys.holder, this.#nonce).catch(() => undefined);
  }

  async #renew(): Promise<void> {
    await this.#clients.writer.bgHold(this.#keys.holder, this.#nonce, this.#holder, HOLD_MS);
  }
}
