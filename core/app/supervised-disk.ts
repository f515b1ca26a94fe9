import type { Moment, SnapshotInfo } from '../api/device.ts';
import { GatewayError } from '../api/errors.ts';
import type { Holder } from '../api/frontend.ts';
import { sleep } from '../util/backoff.ts';
import { type DiskOrder, withSize } from './disk-order.ts';
import type { DiskState, DiskStatus } from './disk-status.ts';
import type { GatewayObserver } from './gateway-events.ts';
import { RAN_WELL_MS, type RestartPolicy } from './restart-policy.ts';
import type { DiskDetails, DiskLauncher, DiskReport, LaunchOptions, RunningDisk } from './running-disk.ts';
import { Standby } from './standby.ts';

/** A disk's process that does not answer for so long is taken for one that does not answer. Milliseconds. */
const ANSWER_MS = 2_000;
/** A store that does not take a flush in so long is no store to change processes over. Milliseconds. */
const FLUSH_MS = 30_000;
const LATE: unique symbol = Symbol('late');

export interface SupervisedDiskOptions {
  readonly launcher: DiskLauncher;
  readonly policy: RestartPolicy;
  readonly emit: GatewayObserver;
  /** Milliseconds; for tests. */
  readonly now?: () => number;
}

/** One disk of a gateway through all its lives: started, started again when it dies, upgraded, grown, stopped. */
export class SupervisedDisk {
  readonly name: string;
  /** Settles when the disk does not run and will not again. Never rejects. */
  readonly over: Promise<void>;
  readonly #options: SupervisedDiskOptions;
  readonly #now: () => number;
  readonly #over = Promise.withResolvers<void>();
  readonly #closing = new AbortController();
  readonly #standby: Standby | undefined;
  #order: DiskOrder;
  #state: DiskState = 'starting';
  #current: RunningDisk | undefined;
  #restarts = 0;
  #lastError: Error | undefined;
  #stopping: Promise<void> | undefined;
  /** An operation that must not meet another one. */
  #operation: Promise<unknown> | undefined;
  /** A disk that was told to make room, and who took its place, or why nobody did. */
  #handedOver: { readonly from: RunningDisk; readonly successor: Promise<RunningDisk | Error> } | undefined;

  constructor(order: DiskOrder, options: SupervisedDiskOptions) {
    this.name = order.disk.name;
    this.over = this.#over.promise;
    this.#order = order;
    this.#options = options;
    const { launcher, emit } = options;
    if (order.disk.standby && launcher.prepare) {
      const onReady = () => emit({ type: 'standing-by', disk: order.disk.name });
      this.#standby = new Standby(launcher.prepare.bind(launcher), onReady);
    }
    this.#now = options.now ?? (() => performance.now());
  }

  /** Of the disk that runs now. */
  get details(): DiskDetails | undefined {
    return this.#current?.details;
  }

  /** Throws `disk.not-running` while its first start is under way: whoever asked for that can give it up. */
  refuseWhileStarting(): void {
    if (this.#state === 'starting') throw notRunning(this.name, this.#state);
  }

  /** Starts it for the first time; when this fails, the disk is over. */
  async start(options: LaunchOptions): Promise<void> {
    try {
      const signal = AbortSignal.any([options.signal, this.#closing.signal]);
      const disk = await this.#launch({ ...options, signal });
      void this.#supervise(disk).then(this.#over.resolve);
    } catch (error) {
      this.#state = 'dead';
      this.#over.resolve();
      throw error;
    }
  }

  async holders(): Promise<readonly Holder[]> {
    return (await this.#current?.holders()) ?? [];
  }

  /** As `holders`; of a disk that does not answer, none. */
  async knownHolders(): Promise<readonly Holder[]> {
    const holders = await within(ANSWER_MS, this.holders()).catch(() => LATE);
    return typeof holders === 'symbol' ? [] : holders;
  }

  async status(): Promise<DiskStatus> {
    const details = this.#current?.details;
    const report = await this.#report();
    const error = this.#lastError;
    const standby = this.#standby?.state;
    return {
      disk: this.name,
      state: this.#state,
      restarts: this.#restarts,
      ...(details && { details: { path: details.path, stack: details.stack } }),
      ...(report && { report }),
      ...(standby && { standby }),
      ...(error && {
        lastError: { ...(GatewayError.is(error) && { code: error.code }), message: error.message },
      }),
    };
  }

  /**
   * Has new code serve the disk. Everything that can fail without harm is done before the disk is touched: then the old
   * process goes on. Returns for how long whoever uses the disk had to wait, in milliseconds.
   */
  upgrade(): Promise<number> {
    return this.#exclusively(() => this.#upgrade());
  }

  /** Grows the disk; without a size, to what its store has grown to. Returns its size. */
  resize(size?: number): Promise<number> {
    return this.#exclusively(async () => {
      const now = await this.#runningDisk().resize(size);
      this.#order = withSize(this.#order, now);
      this.#options.emit({ type: 'resized', disk: this.name, size: now });
      await this.#renewStandby();
      return now;
    });
  }

  snapshot(name: string, moment?: Moment): Promise<SnapshotInfo> {
    return this.#exclusively(() => this.#runningDisk().snapshot(name, moment));
  }

  /** Whoever uses the disk loses it. Rejects when that did not go well; the disk is over all the same. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const { emit } = this.#options;
    const wasUp = this.#state !== 'dead' && this.#state !== 'stopped' && this.#state !== 'starting';
    this.#closing.abort(new Error('the disk is being stopped'));
    await this.#standby?.[Symbol.asyncDispose]();
    // A successor that is about to take over must not be left behind: that ends first, one way or the other. Whatever
    // else is under way ends with the process.
    await this.#handedOver?.successor;
    const disk = this.#current;
    try {
      if (disk !== undefined) {
        this.#state = 'stopping';
        emit({ type: 'stopping', disk: this.name });
        await disk.stop();
      } else if (wasUp) throw leftBehind(this.name, this.#lastError);
      if (disk !== undefined) emit({ type: 'stopped', disk: this.name });
    } catch (error) {
      emit({ type: 'stop-failed', disk: this.name, error });
      throw error;
    } finally {
      this.#current = undefined;
      if (wasUp) this.#state = 'stopped';
    }
    await this.over;
  }

  async #launch(options: LaunchOptions, { again = false } = {}): Promise<RunningDisk> {
    const standby = again ? await this.#standby?.take() : undefined;
    const disk = await (standby?.start(options) ?? this.#options.launcher.launch(this.#order, options));
    this.#becomes(disk);
    if (again) this.#restarts++;
    const { details } = disk;
    this.#options.emit({ type: 'ready', disk: this.name, details, restarts: this.#restarts });
    return disk;
  }

  #becomes(disk: RunningDisk): void {
    this.#current = disk;
    this.#state = 'running';
    if (!this.#closing.signal.aborted) this.#standby?.keepReady(this.#order);
  }

  /** One that has loaded what is not true any more is of no use. */
  async #renewStandby(): Promise<void> {
    await this.#standby?.[Symbol.asyncDispose]();
    if (!this.#closing.signal.aborted) this.#standby?.keepReady(this.#order);
  }

  /** Follows the disk through its lives; settles after the last. */
  async #supervise(first: RunningDisk): Promise<void> {
    let deaths = 0;
    for (let disk = first; ; ) {
      const startedAt = this.#now();
      const end = (await disk.ended) ?? (await this.#successorOf(disk));
      if (end !== undefined && !(end instanceof Error)) {
        disk = end;
        continue;
      }
      if (end === undefined || this.#closing.signal.aborted) return;
      this.#current = undefined;
      deaths = this.#now() - startedAt >= RAN_WELL_MS ? 1 : deaths + 1;
      const error = disk.details.caps.volatile ? contentLost(disk.details, end) : end;
      this.#options.emit({ type: 'died', disk: this.name, error });
      const again = await this.#startAgain(error, deaths);
      if (again === undefined) return;
      ({ disk, deaths } = again);
    }
  }

  /** What came of a disk that has handed over; undefined when it has not. */
  async #successorOf(disk: RunningDisk): Promise<RunningDisk | Error | undefined> {
    return this.#handedOver?.from === disk ? this.#handedOver.successor : undefined;
  }

  /** Tries until the disk runs, and counts how often it has died by then; undefined when it is not to run again. */
  async #startAgain(death: Error, count: number): Promise<{ disk: RunningDisk; deaths: number } | undefined> {
    const { policy, emit } = this.#options;
    const signal = this.#closing.signal;
    for (let error = death, deaths = count; ; deaths++) {
      this.#lastError = error;
      const delayMs = policy.delayAfter({ disk: this.name, error, count: deaths });
      if (delayMs === undefined) {
        this.#state = 'dead';
        await this.#standby?.[Symbol.asyncDispose]();
        emit({ type: 'given-up', disk: this.name });
        return undefined;
      }
      this.#state = 'restarting';
      emit({ type: 'restarting', disk: this.name, delayMs });
      try {
        await sleep(delayMs, signal);
        return { disk: await this.#launch({ takeOver: false, signal }, { again: true }), deaths };
      } catch (failure) {
        if (signal.aborted) return undefined;
        emit({ type: 'failed', disk: this.name, error: failure });
        error = asError(failure);
      }
    }
  }

  async #upgrade(): Promise<number> {
    const { launcher, emit } = this.#options;
    const signal = this.#closing.signal;
    const old = this.#runningDisk();
    const report = await this.#report();
    if (report === undefined) throw notRunning(this.name, this.#state);
    if (launcher.prepare === undefined || !report.canHandOver) throw cannotUpgrade(old.details);
    this.#state = 'upgrading';
    emit({ type: 'upgrading', disk: this.name });
    const taken = Promise.withResolvers<RunningDisk | Error>();
    try {
      await using successor = await launcher.prepare(this.#order, signal);
      // The more is durable now, the less there is to wait for while nobody is served.
      if ((await within(FLUSH_MS, old.flush())) === LATE) throw storeAway(this.name);
      if (this.#current !== old) throw notRunning(this.name, this.#state);
      signal.throwIfAborted();
      this.#handedOver = { from: old, successor: taken.promise };
      const pausedAt = this.#now();
      // However the old one ended, it is gone, and the disk needs somebody.
      await old.handOver().catch((error: unknown) => emit({ type: 'failed', disk: this.name, error }));
      const disk = await successor.start({ takeOver: false, signal });
      const pausedMs = Math.round(this.#now() - pausedAt);
      this.#becomes(disk);
      emit({ type: 'upgraded', disk: this.name, pausedMs });
      taken.resolve(disk);
      await this.#renewStandby();
      return pausedMs;
    } catch (error) {
      if (this.#handedOver?.from === old) this.#current = undefined;
      else if (this.#current === old && this.#state === 'upgrading') this.#state = 'running';
      taken.resolve(asError(error));
      throw error;
    }
  }

  async #report(): Promise<DiskReport | undefined> {
    try {
      const report = await within(ANSWER_MS, this.#current?.report() ?? Promise.resolve(undefined));
      return report === LATE ? undefined : report;
    } catch {
      // It died while it was asked; the next time its state says so.
      return undefined;
    }
  }

  #runningDisk(): RunningDisk {
    if (this.#current === undefined) throw notRunning(this.name, this.#state);
    return this.#current;
  }

  async #exclusively<T>(operate: () => Promise<T>): Promise<T> {
    if (this.#operation !== undefined) throw underWay(this.name);
    if (this.#closing.signal.aborted) throw notRunning(this.name, this.#state);
    const operation = operate();
    this.#operation = operation;
    try {
      return await operation;
    } finally {
      this.#operation = undefined;
    }
  }
}

/** `LATE` after `ms`; the promise is left to itself then. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T | typeof LATE> {
  const timer = new AbortController();
  const late = sleep(ms, timer.signal).then((): typeof LATE => LATE);
  late.catch(() => {});
  promise.catch(() => {});
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

function notRunning(name: string, state: DiskState): GatewayError {
  return new GatewayError('disk.not-running', `Disk "${name}" is not running.`, {
    why: `Its state is: ${state}.`,
    fix: 'Look at "blockgate status", and ask again when the disk runs.',
  });
}

function underWay(name: string): GatewayError {
  return new GatewayError('disk.operation-under-way', `Disk "${name}" is being upgraded or resized.`, {
    why: 'One such operation has to end before the next begins.',
    fix: 'Ask again in a moment.',
  });
}

function cannotUpgrade({ name, stack }: DiskDetails): GatewayError {
  return new GatewayError('disk.cannot-upgrade', `Disk "${name}" cannot be handed to another process.`, {
    why: `It runs in the gateway’s own process, its content ends with its process, or its frontend (${stack[0]?.name}) cannot leave a disk to a successor.`,
    fix: 'Stop the disk and start it again.',
  });
}

function storeAway(name: string): GatewayError {
  return new GatewayError('disk.cannot-upgrade', `Disk "${name}" goes on with the process that it has.`, {
    why: `Its store did not take what has to be written within ${FLUSH_MS / 1000} s, and whoever uses the disk would have had to wait for it.`,
    fix: 'Find out why the store does not answer, and upgrade when it does.',
  });
}

/** To go on with zeros under a file system that is mounted would be worse than to let it wait. */
function contentLost({ name, path }: DiskDetails, cause: Error): GatewayError {
  return new GatewayError('disk.content-lost', `Disk "${name}" has lost its content with its process.`, {
    why: `${cause.message} What was stored on ${path} was in the memory of that process.`,
    fix: `Unmount ${path} if it is mounted (umount --lazy if it hangs), stop the gateway, and remove the device with "blockgate destroy ${name} --force".`,
    cause,
  });
}

function leftBehind(name: string, cause: Error | undefined): GatewayError {
  return new GatewayError('disk.left-behind', `Disk "${name}" was down when it was told to stop.`, {
    why: 'Its device is still there, and whoever uses it waits.',
    fix: `Start it again with "blockgate run ${name}", or remove it with "blockgate destroy ${name}".`,
    cause,
  });
}
