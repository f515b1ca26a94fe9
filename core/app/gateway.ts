import { GatewayError } from '../api/errors.ts';
import type { Holder } from '../api/frontend.ts';
import { sleep } from '../util/backoff.ts';
import type { DiskOrder } from './disk-order.ts';
import type { GatewayEvent, GatewayObserver } from './gateway-events.ts';
import type { RestartPolicy } from './restart-policy.ts';
import type { DiskDetails, DiskLauncher, LaunchOptions, RunningDisk } from './running-disk.ts';

/** How long `stop` waits for programs that only glance at a disk, as udev does after each write. Milliseconds. */
const GLANCE_MS = 2_000;
const GLANCE_POLL_MS = 100;

export interface StartOptions {
  readonly takeOver?: boolean;
  /** Run the disks that start, although others do not. */
  readonly keepGoing?: boolean;
  readonly signal?: AbortSignal;
}

export interface StopOptions {
  /** Take disks away from whoever uses them. */
  readonly force?: boolean;
}

/** Starts, watches and stops disks. Reports what happens to them as events. */
export class Gateway implements AsyncDisposable {
  readonly #launcher: DiskLauncher;
  readonly #policy: RestartPolicy;
  readonly #disks = new Map<string, RunningDisk>();
  readonly #names = new Set<string>();
  readonly #observers = new Set<GatewayObserver>();
  readonly #closing = new AbortController();
  /** One per disk that was started; settles when that disk will not run again. */
  readonly #watches: Promise<void>[] = [];
  #failed = false;

  constructor(launcher: DiskLauncher, policy: RestartPolicy) {
    this.#launcher = launcher;
    this.#policy = policy;
  }

  /** Disks that run now, in the order in which they were asked for. */
  get disks(): readonly DiskDetails[] {
    return [...this.#names].flatMap((name) => this.#disks.get(name)?.details ?? []);
  }

  /** True once a disk could not start, died, or did not stop cleanly. */
  get failed(): boolean {
    return this.#failed;
  }

  observe(observer: GatewayObserver): Disposable {
    this.#observers.add(observer);
    return { [Symbol.dispose]: () => this.#observers.delete(observer) };
  }

  /**
   * Starts disks side by side. When one cannot start the others are stopped again and its error is thrown, unless
   * `keepGoing`; then it throws only when none could start.
   */
  async start(orders: readonly DiskOrder[], options: StartOptions = {}): Promise<void> {
    const { keepGoing = false, takeOver = false, signal } = options;
    for (const { disk } of orders) this.#names.add(disk.name);
    const giveUp = new AbortController();
    const signals = [giveUp.signal, this.#closing.signal, ...(signal ? [signal] : [])];
    const launch: LaunchOptions = { takeOver, signal: AbortSignal.any(signals) };
    const errors: unknown[] = [];
    const start = async (order: DiskOrder) => {
      try {
        this.#watches.push(this.#watch(order, await this.#launch(order, launch)));
      } catch (error) {
        // A disk that was given up because of another has no news of its own.
        if (launch.signal.aborted && error === launch.signal.reason) return;
        errors.push(error);
        this.#fail(order.disk.name, error);
        if (!keepGoing) giveUp.abort(error);
      }
    };
    await Promise.all(orders.map(start));
    if (!launch.signal.aborted && (errors.length === 0 || errors.length < orders.length)) return;
    await this.stop({ force: true });
    throw launch.signal.aborted ? launch.signal.reason : errors[0];
  }

  /** Who uses which disk; disks that nobody uses are left out. */
  async holders(): Promise<Map<string, readonly Holder[]>> {
    const all = new Map<string, readonly Holder[]>();
    for (const [name, disk] of this.#disks) {
      const holders = await disk.holders();
      if (holders.length > 0) all.set(name, holders);
    }
    return all;
  }

  /**
   * Stops every disk. Fails with `disk.held`, and stops none, while somebody uses one, unless forced. Errors of disks
   * that did not stop cleanly are events; the first is thrown when all are down.
   */
  async stop({ force = false }: StopOptions = {}): Promise<void> {
    if (!force) await this.#refuseWhileHeld();
    this.#closing.abort(new Error('the gateway is stopping'));
    const errors: unknown[] = [];
    const stops = [...this.#disks].map(async ([name, disk]) => {
      this.#emit({ type: 'stopping', disk: name });
      try {
        await disk.stop();
        this.#emit({ type: 'stopped', disk: name });
      } catch (error) {
        this.#failed = true;
        errors.push(error);
        this.#emit({ type: 'stop-failed', disk: name, error });
      } finally {
        this.#disks.delete(name);
      }
    });
    await Promise.all([...stops, ...this.#watches]);
    if (errors.length > 0) throw errors[0];
  }

  /** Settles when no disk runs and none will be restarted. */
  async ended(): Promise<void> {
    await Promise.all(this.#watches);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop({ force: true });
  }

  async #launch(order: DiskOrder, options: LaunchOptions): Promise<RunningDisk> {
    const disk = await this.#launcher.launch(order, options);
    const { name } = order.disk;
    this.#disks.set(name, disk);
    this.#emit({ type: 'ready', disk: name, details: disk.details });
    return disk;
  }

  /** Follows one disk through its lives; settles after the last. */
  async #watch(order: DiskOrder, first: RunningDisk): Promise<void> {
    const { name } = order.disk;
    const closing = this.#closing.signal;
    for (let disk = first, count = 1; ; count++) {
      const error = await disk.ended;
      if (error === undefined || closing.aborted) return;
      this.#disks.delete(name);
      this.#emit({ type: 'died', disk: name, error });
      const delayMs = this.#policy.delayAfter({ disk: name, error, count });
      if (delayMs === undefined) {
        this.#failed = true;
        return;
      }
      this.#emit({ type: 'restarting', disk: name, delayMs });
      try {
        await sleep(delayMs, closing);
        disk = await this.#launch(order, { takeOver: false, signal: closing });
      } catch (failure) {
        if (!closing.aborted) this.#fail(name, failure);
        return;
      }
    }
  }

  async #refuseWhileHeld(): Promise<void> {
    let held = await this.holders();
    const deadline = performance.now() + GLANCE_MS;
    while (onlyGlances(held) && performance.now() < deadline) {
      await sleep(GLANCE_POLL_MS);
      held = await this.holders();
    }
    if (held.size === 0) return;
    for (const [disk, holders] of held) this.#emit({ type: 'held', disk, holders });
    throw heldError(held);
  }

  #fail(disk: string, error: unknown): void {
    this.#failed = true;
    this.#emit({ type: 'failed', disk, error });
  }

  #emit(event: GatewayEvent): void {
    for (const observer of this.#observers) observer(event);
  }
}

function onlyGlances(held: Map<string, readonly Holder[]>): boolean {
  const holders = [...held.values()].flat();
  return holders.length > 0 && holders.every((holder) => holder.kind === 'process');
}

function heldError(held: Map<string, readonly Holder[]>): GatewayError {
  const lines = [...held].map(([disk, holders]) => {
    return `"${disk}" is ${holders.map((holder) => holder.description).join(', ')}`;
  });
  const what = held.size === 1 ? 'A disk is' : 'Disks are';
  return new GatewayError('disk.held', `${what} in use: ${lines.join('; ')}.`, {
    why: 'Taking a disk away from under a file system or a program loses what was not written yet.',
    fix: 'Unmount it, swapoff it or end those programs, then stop again; --force takes it away all the same.',
  });
}
