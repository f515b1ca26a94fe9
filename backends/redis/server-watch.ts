import type { Logger } from '../../core/plugin.ts';
import type { RedisClients } from './clients.ts';
import type { Durability } from './durability.ts';
import { dangerOf, serverFacts } from './server-facts.ts';

/** How often the servers are asked whether they can still be trusted. Milliseconds. */
const WATCH_MS = 5_000;

export interface ServerWatchOptions {
  readonly clients: RedisClients;
  readonly durability: Durability;
  readonly logger: Logger;
  /** Why flushes must not be answered any more; undefined: they may. */
  readonly onLooked: (danger: string | undefined) => void;
}

/** Somebody may change what was found at the start, or another server take over: then flushes fail, and somebody is told. */
export class ServerWatch implements Disposable {
  readonly #options: ServerWatchOptions;
  readonly #timer: NodeJS.Timeout;
  #danger: string | undefined;

  constructor(options: ServerWatchOptions) {
    this.#options = options;
    // A server that is away is the link's business.
    this.#timer = setInterval(() => void this.look().catch(() => undefined), WATCH_MS);
    this.#timer.unref();
  }

  /** Rejects as the connection or the server does. */
  async look(): Promise<void> {
    const { clients, durability, logger, onLooked } = this.#options;
    const all = await serverFacts(clients);
    const danger = all
      .map((facts) => dangerOf(facts) ?? durability.dangerOf(facts))
      .find((found) => found !== undefined);
    onLooked(danger);
    if (danger === this.#danger) return;
    this.#danger = danger;
    if (danger === undefined) logger.info('the Redis server can be trusted again');
    else logger.error('the Redis server cannot be trusted: flushes fail until it can', { why: danger });
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
