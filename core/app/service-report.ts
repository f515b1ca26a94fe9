import type { Gateway } from './gateway.ts';
import type { GatewayEvent } from './gateway-events.ts';
import type { ServiceManager } from './systemd.ts';

/** While stopping: how often to ask for more time, and for how much. Milliseconds. */
const EXTEND_EVERY_MS = 5_000;
const EXTEND_BY_MS = 20_000;
/** Ten minutes. A process that even SIGKILL does not end waits in the kernel, and would wait for ever. */
const MAX_EXTENSIONS = 120;

/** Keeps the service manager up to date on a gateway, until disposed of. */
export class ServiceReport implements Disposable {
  readonly #manager: ServiceManager;
  readonly #owned = new DisposableStack();
  /** What each disk is doing, in the order in which they came up. */
  readonly #disks = new Map<string, string>();
  #isStopping = false;

  constructor(manager: ServiceManager, gateway: Gateway) {
    this.#manager = manager;
    this.#owned.use(gateway.observe((event) => this.#note(event)));
    // That this timer fires is the proof of health: the event loop turns. A disk's process is watched by the gateway.
    if (manager.watchdogMs !== undefined) this.#every(manager.watchdogMs / 2, () => manager.alive());
    manager.status('Starting the disks');
  }

  /** Every disk that will run does. */
  ready(): void {
    this.#manager.ready();
  }

  /**
   * The disks are on their way down. A store may be slow to take the last writes, and every step of a stop has a bound
   * of its own: so this asks for time while it lasts, within reason.
   */
  stopping(): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#manager.stopping();
    let extensions = 0;
    const extend = () => {
      if (extensions++ < MAX_EXTENSIONS) this.#manager.needsAnother(EXTEND_BY_MS);
    };
    extend();
    this.#every(EXTEND_EVERY_MS, extend);
  }

  [Symbol.dispose](): void {
    this.#owned.dispose();
    this.#manager[Symbol.dispose]();
  }

  #every(ms: number, what: () => void): void {
    const timer = setInterval(what, ms);
    this.#owned.defer(() => clearInterval(timer));
  }

  #note(event: GatewayEvent): void {
    const { disk } = event;
    if (event.type === 'stopped') this.#disks.delete(disk);
    else this.#disks.set(disk, describe(event));
    const states = [...Map.groupBy(this.#disks, ([, state]) => state)];
    const parts = states.map(([state, disks]) => `${state} ${disks.map(([name]) => name).join(', ')}`);
    this.#manager.status(parts.length === 0 ? 'no disks' : parts.join('; '));
  }
}

function describe(event: Exclude<GatewayEvent, { type: 'stopped' }>): string {
  switch (event.type) {
    case 'ready':
    // By the old process or the new one: when an upgrade fails, nothing else happens.
    case 'upgrading':
    case 'upgraded':
    case 'standing-by':
    case 'resized':
      return 'serving';
    case 'failed':
    case 'died':
      return 'down:';
    case 'restarting':
      return 'restarting';
    case 'given-up':
      return 'given up:';
    case 'held':
      return `waiting, ${event.holders.map(({ description }) => description).join(' and ')}:`;
    case 'stopping':
      return 'stopping';
    case 'stop-failed':
      return 'not stopped cleanly:';
  }
}
