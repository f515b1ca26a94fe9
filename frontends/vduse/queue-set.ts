import type { Volume } from '../../core/api/device.ts';
import type { Logger } from '../../core/api/logger.ts';
import type { Reactor } from '../../core/system/reactor.ts';
import type { Syscalls } from '../../core/system/syscalls.ts';
import type { BlkLimits } from '../virtio/blk/limits.ts';
import { BlkQueue } from '../virtio/blk/queue.ts';
import type { UnflushedWrites } from '../virtio/blk/unflushed-writes.ts';
import { AdaptiveSpin } from '../virtio/virtq/adaptive-spin.ts';
import type { RingState } from '../virtio/virtq/ring-state.ts';
import type { QueueInfo, VduseDevice } from './device.ts';
import type { InFlightFile } from './inflight-file.ts';
import { InterruptLine } from './interrupt-line.ts';
import { Iotlb } from './iotlb.ts';
import { Kick } from './kick.ts';
import { MalformedLog } from './malformed-log.ts';
import type { BounceFile } from './own-bounce.ts';
import type { QueueHost } from './queue-host.ts';
import { settlesWithin } from './timeout.ts';

/** What the queues of a disk need, and what does not change from one driver to the next. */
export interface QueueSetContext {
  readonly device: VduseDevice;
  readonly syscalls: Syscalls;
  readonly reactor: Reactor;
  readonly logger: Logger;
  readonly volume: Volume;
  readonly limits: BlkLimits;
  readonly serial: string;
  readonly inFlight: InFlightFile;
  /** For volumes that keep answered writes in this process. */
  readonly unflushed?: UnflushedWrites | undefined;
  /** The driver cannot be reached any more. */
  readonly onBroken: (error: unknown) => void;
  /** Microseconds to look at an empty ring before sleeping; 0 where the thread has other things to do. */
  readonly spinUs: number;
  /** Nothing is in flight any more, or no interrupt waits any more: see `idle`. */
  readonly onIdle?: () => void;
}

/** One virtqueue while it is started: its kicks and interrupts outlive the queue object, which a pause ends. */
interface Line {
  readonly info: QueueInfo;
  readonly interrupt: InterruptLine;
  /** Kicks and interrupts. */
  readonly owned: DisposableStack;
  queue: BlkQueue | undefined;
  /** No further queue object follows, whatever ends the one there is. */
  stopped: boolean;
  /** Where the next queue object starts. */
  state: RingState;
}

/** Where a virtqueue stopped, and where it was told to start before. */
interface Stop {
  readonly told: RingState;
  readonly reached: RingState;
}

/**
 * The virtqueues of one driver, from its DRIVER_OK to its reset, with their kicks, interrupts and memory.
 *
 * Pausing and changing memory are the same act: take nothing more, wait for what is in flight, and go on with new
 * queue objects where the old ones ended.
 */
export class QueueSet implements QueueHost {
  readonly #context: QueueSetContext;
  readonly #features: bigint;
  readonly #lines: (Line | undefined)[] = [];
  readonly #stops: (Stop | undefined)[] = [];
  readonly #bounce: BounceFile | undefined;
  #iotlb: Iotlb;
  /** A set starts paused: nothing may be taken before the answer to DRIVER_OK. */
  #paused = true;
  /** Changes of memory under way: until they are done no queue may start, or it would be in the old memory. */
  #remaps = 0;
  #ended = false;

  /**
   * Sets the queues up; none takes a request before `resume`. Throws `virtio.bad-ring` or `SystemError`, and leaves
   * nothing behind. `infos`: by index; queues that are not ready are left out. `asid`: their address space. `bounce`: as for
   * `Iotlb`.
   */
  constructor(
    context: QueueSetContext,
    features: bigint,
    infos: readonly QueueInfo[],
    asid = 0,
    bounce?: BounceFile,
  ) {
    this.#context = context;
    this.#features = features;
    this.#bounce = bounce;
    this.#iotlb = new Iotlb(context.device, context.logger, asid, bounce);
    try {
      for (const [index, info] of infos.entries())
        if (info.ready) this.#lines[index] = this.#openLine(index, info, info.state);
      for (const [index, line] of this.#lines.entries())
        if (line !== undefined) line.queue = this.#buildQueue(index, line);
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  get inFlight(): number {
    return this.#running().reduce((sum, { queue }) => sum + queue!.inFlight, 0);
  }

  /** True when the next thing to happen is a kick: no request is in flight, no interrupt waits to be tried again. */
  get idle(): boolean {
    if (this.#paused || this.#ended) return false;
    return this.#lines.every(
      (line) => line?.queue === undefined || (line.queue.idle && !line.interrupt.waiting),
    );
  }

  /** Serves what is there, as a kick on every queue would. */
  poke(): void {
    if (this.#paused) return;
    for (const line of this.#lines) line?.queue?.process();
  }

  /** Interrupts once as well: a predecessor of this process may owe the driver one, and one too many does no harm. */
  resume(): void {
    this.#paused = false;
    this.#serve();
  }

  async pause(): Promise<void> {
    this.#paused = true;
    await this.#endQueues();
    // Who wanted it may have given up waiting, and the queues go on.
    this.#serveUnlessPaused();
  }

  async stopQueue(index: number): Promise<RingState | undefined> {
    const line = this.#lines[index];
    if (line !== undefined) {
      line.stopped = true;
      await this.#endQueue(line);
      if (!line.stopped) this.#serveUnlessPaused();
      else if (this.#lines[index] === line) this.#closeLine(index, line);
    }
    return this.#stops[index]?.reached;
  }

  startQueue(index: number, info: QueueInfo): void {
    const started = this.#lines[index];
    if (started !== undefined) started.stopped = false;
    if (this.#ended || started !== undefined) return;
    const line = this.#openLine(index, info, this.#startOf(index, info));
    this.#lines[index] = line;
    try {
      if (this.#remaps === 0) line.queue = this.#buildQueue(index, line);
    } catch (error) {
      this.#lines[index] = undefined;
      line.owned.dispose();
      throw error;
    }
    this.#serveUnlessPaused();
  }

  async remap(asid: number): Promise<void> {
    this.#remaps++;
    try {
      await this.#endQueues();
      if (this.#ended) return;
      const old = this.#iotlb;
      this.#iotlb = new Iotlb(this.#context.device, this.#context.logger, asid, this.#bounce);
      await old.retire();
    } finally {
      this.#remaps--;
    }
    this.#serveUnlessPaused();
  }

  async abandon(deadlineMs: number): Promise<boolean> {
    this.#ended = true;
    const queues = this.#running().map(({ queue }) => queue!);
    for (const queue of queues) queue.abandon();
    this.#disposeLines();
    const drained = Promise.all(queues.map((queue) => queue.drain()));
    const late = !(await settlesWithin(drained, deadlineMs));
    if (late) this.#iotlb.detach();
    const unmapped = this.#iotlb.retire().catch((error: unknown) => {
      this.#context.logger.error('guest memory could not be unmapped', { error });
    });
    if (!late) await unmapped;
    return late;
  }

  #openLine(index: number, info: QueueInfo, state: RingState): Line {
    const { device, syscalls, reactor } = this.#context;
    using owned = new DisposableStack();
    const interrupt = owned.use(
      new InterruptLine({
        inject: () => device.injectIrq(index),
        onBroken: this.#context.onBroken,
        onDelivered: this.#context.onIdle,
      }),
    );
    const kick = owned.use(new Kick(syscalls, reactor, () => this.#kicked(line)));
    device.setupKick(index, kick.fd);
    const line: Line = {
      info,
      interrupt,
      owned: owned.move(),
      queue: undefined,
      stopped: false,
      state,
    };
    return line;
  }

  #closeLine(index: number, line: Line): void {
    this.#lines[index] = undefined;
    this.#stops[index] = { told: line.info.state, reached: line.state };
    line.owned.dispose();
  }

  /**
   * The kernel keeps where a queue was told to start, not how far it got: unless it was told anew, it goes on where it
   * stopped, which its log says as well.
   */
  #startOf(index: number, info: QueueInfo): RingState {
    const stop = this.#stops[index];
    if (stop === undefined) return info.state;
    if (sameState(stop.told, info.state)) return stop.reached;
    this.#context.inFlight.log(index).fill(0);
    return info.state;
  }

  #serveUnlessPaused(): void {
    if (!this.#paused) this.#serve();
  }

  /**
   * A queue that cannot be built now, though it could before, stands still, and the others go on: the driver's memory
   * changed, and its rings are not in it. That is the end of its disk, not ours.
   */
  #serve(): void {
    if (this.#ended || this.#remaps > 0) return;
    for (const [index, line] of this.#lines.entries()) {
      try {
        if (line !== undefined && !line.stopped) line.queue ??= this.#buildQueue(index, line);
      } catch (error) {
        this.#context.logger.error('virtqueue stopped', { queue: index, error });
      }
    }
    for (const { queue, interrupt } of this.#running()) {
      queue!.process();
      interrupt.raise();
    }
  }

  #kicked(line: Line): void {
    if (!this.#paused) line.queue?.process();
  }

  #buildQueue(index: number, { info, interrupt, state }: Line): BlkQueue {
    const { volume, limits, serial, logger, inFlight, unflushed, spinUs, onIdle } = this.#context;
    const malformed = new MalformedLog(logger, index);
    return new BlkQueue({
      index,
      ring: { ...info, state },
      memory: this.#iotlb.memory,
      volume,
      features: this.#features,
      serial,
      limits,
      inFlightLog: inFlight.log(index),
      notify: () => interrupt.raise(),
      schedule: setImmediate,
      onBroken: (reason, cause) => logger.error('virtqueue stopped', { queue: index, reason, error: cause }),
      onRequestError: (error) => logger.debug('request failed', { queue: index, error }),
      onMalformed: (defect) => malformed.report(defect),
      spin: spinUs > 0 ? new AdaptiveSpin(spinUs) : undefined,
      onIdle,
      unflushed,
    });
  }

  async #endQueues(): Promise<void> {
    await Promise.all(this.#running().map((line) => this.#endQueue(line)));
  }

  async #endQueue(line: Line): Promise<void> {
    const { queue } = line;
    if (queue === undefined) return;
    queue.stop();
    await queue.drain();
    // Another call may have come here first, and a successor may be at work already.
    if (line.queue !== queue) return;
    line.state = queue.ringState;
    line.queue = undefined;
  }

  #running(): Line[] {
    return this.#lines.filter((line) => line?.queue !== undefined) as Line[];
  }

  #end(): void {
    this.#ended = true;
    for (const { queue } of this.#running()) queue!.abandon();
    this.#disposeLines();
    void this.#iotlb.retire();
  }

  #disposeLines(): void {
    for (const line of this.#lines) line?.owned.dispose();
  }
}

/** Their layout is the driver's. */
function sameState(a: RingState, b: RingState): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
