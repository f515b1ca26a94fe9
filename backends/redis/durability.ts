import { BlockError } from '../../core/plugin.ts';
import type { RedisClients } from './clients.ts';
import type { RedisConfig } from './config.ts';
import { durabilityUnavailable } from './errors.ts';
import type { ServerFacts } from './server-facts.ts';

export type DurabilityMode = NonNullable<RedisConfig['durability']>;

/** WAITAOF exists from here on: 7.2. */
const WAITAOF_VERSION = 702;
/** One WAIT or WAITAOF: shorter than what passes for a silent server. Milliseconds. */
const WAIT_MS = 5_000;

/** What a flush promises, and how it gets that of the servers. */
export class Durability {
  readonly mode: DurabilityMode;
  readonly #replicas: number;
  readonly #timeoutMs: number;
  /** The servers synchronize before they answer a write: then a flush need not ask. */
  readonly #isSynchronous: boolean;

  private constructor(mode: DurabilityMode, replicas: number, timeoutMs: number, isSynchronous: boolean) {
    this.mode = mode;
    this.#replicas = replicas;
    this.#timeoutMs = timeoutMs;
    this.#isSynchronous = isSynchronous;
  }

  /** Throws `redis.durability-unavailable` when the servers cannot keep what `config` asks for. */
  static choose(config: RedisConfig, all: readonly ServerFacts[]): Durability {
    const { replicas, flushTimeout } = config;
    const hasReplicas = all.every((facts) => facts.replicas >= replicas);
    const canWaitAof = all.every(({ version }) => version >= WAITAOF_VERSION);
    const mode = config.durability ?? (hasReplicas && canWaitAof ? 'aof+replicas' : 'aof');
    const needsAof = mode === 'aof' || mode === 'aof+replicas';
    const needsReplicas = mode === 'replicated' || mode === 'aof+replicas';
    if (needsAof && !all.every(({ aof }) => aof))
      throw durabilityUnavailable(
        mode,
        'The server has no append-only file: everything it holds is gone when it dies.',
        'Set "appendonly yes" in its configuration, or, if the disk may be lost with the server, "durability": "memory".',
      );
    if (needsReplicas && !hasReplicas)
      throw durabilityUnavailable(
        mode,
        `It takes ${replicas} connected replicas, and the server has ${Math.min(...all.map((facts) => facts.replicas))}.`,
        'Start the replicas, or choose another durability.',
      );
    const isSynchronous = all.every(({ appendfsync }) => appendfsync === 'always');
    const old = `Redis ${all[0]?.versionText} has no WAITAOF, which came with 7.2`;
    if (mode === 'aof+replicas' && !canWaitAof)
      throw durabilityUnavailable(
        mode,
        `${old}: nobody can tell what a replica has on its disk.`,
        'Upgrade the servers, or choose "aof" or "replicated".',
      );
    if (mode === 'aof' && !canWaitAof && !isSynchronous)
      throw durabilityUnavailable(
        mode,
        `${old}: nobody can tell what its append-only file has.`,
        'Set "appendfsync always" in its configuration, or upgrade the server.',
      );
    return new Durability(mode, replicas, flushTimeout * 1000, mode === 'aof' && !canWaitAof);
  }

  /** Why a server cannot keep what a flush promises; undefined when it can, or will say so itself when it is asked. */
  dangerOf({ aof, appendfsync }: ServerFacts): string | undefined {
    if (this.mode !== 'aof' && this.mode !== 'aof+replicas') return undefined;
    if (!aof) return 'it has no append-only file any more';
    if (this.#isSynchronous && appendfsync !== 'always')
      return 'its appendfsync is not "always" any more, and it has no WAITAOF';
    return undefined;
  }

  /** What survives what, for the log. */
  get promise(): string {
    switch (this.mode) {
      case 'memory':
        return 'nothing survives the death of the server';
      case 'aof':
        return this.#isSynchronous
          ? 'a write survives the death of the server (appendfsync always)'
          : 'a flush survives the death of the server';
      case 'replicated':
        return `a flush is on ${this.#replicas} replicas, in their memory`;
      default:
        return `a flush is on the disks of the server and of ${this.#replicas} replicas`;
    }
  }

  /**
   * Settles when everything that was answered on the connections of `clients.writer` is as durable as promised. Rejects
   * with a `BlockError` when the servers do not confirm it in time, or with what the connection failed of.
   */
  async flush(clients: RedisClients): Promise<void> {
    if (this.mode === 'memory' || this.#isSynchronous) {
      await Promise.all(clients.onWriters('PING'));
      return;
    }
    const local = this.mode === 'replicated' ? 0 : 1;
    const remote = this.mode === 'aof' ? 0 : this.#replicas;
    const deadline = performance.now() + this.#timeoutMs;
    for (;;) {
      const left = deadline - performance.now();
      const ms = Math.ceil(Math.max(1, Math.min(WAIT_MS, left)));
      const counts =
        this.mode === 'replicated'
          ? (await Promise.all(clients.onWriters('WAIT', remote, ms))).map((count) => [0, count as number])
          : ((await Promise.all(clients.onWriters('WAITAOF', local, remote, ms))) as [number, number][]);
      const [onDisk, onReplicas] = [0, 1].map((which) =>
        Math.min(...counts.map((count) => count[which]!)),
      ) as [number, number];
      // A count that falls short is no error to the server.
      if (onDisk >= local && onReplicas >= remote) return;
      if (left <= ms)
        throw new BlockError(
          'EIO',
          `a flush was not confirmed within ${this.#timeoutMs / 1000} s: ${onDisk} of ${local} local, ${onReplicas} of ${remote} replicas`,
        );
    }
  }
}
