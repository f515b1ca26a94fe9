import type { Moment, SnapshotInfo } from '../api/device.ts';
import { GatewayError } from '../api/errors.ts';
import type { Holder } from '../api/frontend.ts';
import { sleep } from '../util/backoff.ts';
import { settleAll } from '../util/settle-all.ts';
import type { DiskOrder } from './disk-order.ts';
import type { DiskStatus } from './disk-status.ts';
import type { GatewayEvent, GatewayObserver } from './gateway-events.ts';
import type { RestartPolicy } from './restart-policy.ts';
import type { DiskDetails, DiskLauncher, LaunchOptions } from './running-disk.ts';
import { SupervisedDisk } from './supervised-disk.ts';

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
  /** In the order in which they were asked for. */
  readonly #disks = new Map<string, SupervisedDisk>();
  readonly #observers = new Set<GatewayObserver>();
  #failed = false;

  constructor(launcher: DiskLauncher, policy: RestartPolicy) {
    this.#launcher = launcher;
    this.#policy = policy;
  }

  /** Disks that run now, in the order in which they were asked for. */
  get disks(): readonly DiskDetails[] {
    return [...this.#disks.values()].flatMap((disk) => disk.details ?? []);
  }

  /** True once a disk could not start, died for good, or did not stop cleanly. */
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
    const giveUp = new AbortController();
    const launch: LaunchOptions = {
      takeOver,
      signal: signal ? AbortSignal.any([giveUp.signal, signal]) : giveUp.signal,
    };
    const errors: unknown[] = [];
    const start = async (order: DiskOrder) => {
      const disk = new SupervisedDisk(order, {
        launcher: this.#launcher,
        policy: this.#policy,
        emit: (event) => this.#emit(event),
      });
      this.#disks.set(disk.name, disk);
      try {
        await disk.start(launch);
      } catch (error) {
        // A disk that was given up because of another has no news of its own.
        if (launch.signal.aborted && error === launch.signal.reason) return;
        errors.push(error);
        this.#failed = true;
        this.#emit({ type: 'failed', disk: disk.name, error });
        if (!keepGoing) giveUp.abort(error);
      }
    };
    await Promise.all(orders.map(start));
    if (!launch.signal.aborted && (errors.length === 0 || errors.length < orders.length)) return;
    await this.stop({ force: true });
    throw launch.signal.aborted ? launch.signal.reason : errors[0];
  }

  /** Of the disks that are named, or all. Throws `gateway.no-such-disk`. */
  status(names: readonly string[] = []): Promise<DiskStatus[]> {
    const disks = names.length === 0 ? [...this.#disks.values()] : names.map((name) => this.#disk(name));
    return Promise.all(disks.map((disk) => disk.status()));
  }

  /** Who uses which disk; disks that nobody uses are left out. */
  holders(): Promise<Map<string, readonly Holder[]>> {
    return holdersOf(this.#disks.values());
  }

  /** See `SupervisedDisk`. Throws `gateway.no-such-disk`. */
  async upgrade(name: string): Promise<number> {
    return await this.#disk(name).upgrade();
  }

  /** See `SupervisedDisk`. Throws `gateway.no-such-disk`. */
  async resize(name: string, size?: number): Promise<number> {
    return await this.#disk(name).resize(size);
  }

  /** See `RunningDisk`. Throws `gateway.no-such-disk`. */
  async snapshot(name: string, snapshot: string, moment?: Moment): Promise<SnapshotInfo> {
    return await this.#disk(name).snapshot(snapshot, moment);
  }

  /**
   * Stops one disk. Fails with `disk.held` while somebody uses it, unless forced; returns who did. Throws
   * `gateway.no-such-disk`, and what keeps it from stopping cleanly.
   */
  async detach(name: string, { force = false }: StopOptions = {}): Promise<readonly Holder[]> {
    const disk = this.#disk(name);
    disk.refuseWhileStarting();
    if (!force) await this.#refuseWhileHeld([disk]);
    const holders = await disk.knownHolders();
    await disk.stop();
    return holders;
  }

  /**
   * Stops every disk. Fails with `disk.held`, and stops none, while somebody uses one, unless forced. Errors of disks
   * that did not stop cleanly are events; the first is thrown when all are down.
   */
  async stop({ force = false }: StopOptions = {}): Promise<void> {
    const disks = [...this.#disks.values()];
    if (!force) await this.#refuseWhileHeld(disks);
    await settleAll(disks.map((disk) => disk.stop()));
  }

  /** Settles when no disk runs and none will be restarted. */
  async ended(): Promise<void> {
    await Promise.all([...this.#disks.values()].map((disk) => disk.over));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop({ force: true });
  }

  #disk(name: string): SupervisedDisk {
    const disk = this.#disks.get(name);
    if (disk !== undefined) return disk;
    throw new GatewayError('gateway.no-such-disk', `This gateway does not serve a disk "${name}".`, {
      why: `It serves ${[...this.#disks.keys()].join(', ')}.`,
      fix: 'Name one of those; "blockgate status" shows the disks of every gateway.',
    });
  }

  async #refuseWhileHeld(disks: readonly SupervisedDisk[]): Promise<void> {
    let held = await holdersOf(disks);
    const deadline = performance.now() + GLANCE_MS;
    while (onlyGlances(held) && performance.now() < deadline) {
      await sleep(GLANCE_POLL_MS);
      held = await holdersOf(disks);
    }
    if (held.size === 0) return;
    for (const [disk, holders] of held) this.#emit({ type: 'held', disk, holders });
    throw heldError(held);
  }

  #emit(event: GatewayEvent): void {
    if (event.type === 'given-up' || event.type === 'stop-failed') this.#failed = true;
    for (const observer of this.#observers) observer(event);
  }
}

async function holdersOf(disks: Iterable<SupervisedDisk>): Promise<Map<string, readonly Holder[]>> {
  const all = new Map<string, readonly Holder[]>();
  for (const disk of disks) {
    const holders = await disk.holders();
    if (holders.length > 0) all.set(disk.name, holders);
  }
  return all;
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
