import type { Volume } from '../../../core/api/device.ts';
import type { Logger } from '../../../core/api/logger.ts';
import type { Reactor, Watch } from '../../../core/system/reactor.ts';
import type { Syscalls } from '../../../core/system/syscalls.ts';
import type { BlkLimits } from '../../virtio/blk/limits.ts';
import type { QueueInfo, VduseDevice } from '../device.ts';
import type { InFlightFile } from '../inflight-file.ts';
import { QueueSet } from '../queue-set.ts';
import { type ToWorker, WorkerState } from './worker-messages.ts';

/** Sleeps until one of a few eventfds is written to. */
interface Sleep {
  add(fd: number): void;
  remove(fd: number): void;
  wait(): void;
}

export interface QueueServerOptions {
  readonly index: number;
  readonly device: VduseDevice;
  readonly syscalls: Syscalls;
  readonly reactor: Reactor;
  readonly sleep: Sleep;
  readonly logger: Logger;
  readonly volume: Volume;
  readonly limits: BlkLimits;
  readonly inFlight: InFlightFile;
  readonly serial: string;
  readonly spinUs: number;
  /** `WorkerState` words, shared with the thread that sends. */
  readonly state: Int32Array;
  readonly onBroken: (error: unknown) => void;
  /** Has the volume see how large its store is by now. */
  readonly grow: () => Promise<void>;
}

/**
 * One virtqueue in a thread of its own.
 *
 * While every request completes within the call, which is what a file in the page cache does, the thread sleeps in
 * the kernel until the next kick, and its event loop stands still: a wake-up costs one system call that way, where
 * the event loop takes several. As soon as something completes later, the event loop waits, for kicks as well.
 */
export class QueueServer {
  readonly #options: QueueServerOptions;
  #set: QueueSet | undefined;
  #carriedOut = 0;
  #serving = false;
  #scheduled = false;

  constructor(options: QueueServerOptions) {
    this.#options = options;
  }

  /** Carries a message out; resolves to the answer of those that have one. */
  async receive(message: ToWorker): Promise<unknown> {
    try {
      return await this.#carryOut(message);
    } finally {
      // Not before: what it waits for may need the event loop.
      this.#carriedOut++;
      this.#scheduleServing();
    }
  }

  async #carryOut(message: ToWorker): Promise<unknown> {
    const { index } = this.#options;
    switch (message.type) {
      case 'open':
        this.#open(message);
        return undefined;
      case 'resume':
        this.#set?.resume();
        return undefined;
      case 'pause':
        return await this.#set?.pause();
      case 'stop':
        return await this.#set?.stopQueue(index);
      case 'start':
        this.#set?.startQueue(index, message.info);
        return undefined;
      case 'remap':
        return await this.#set?.remap(message.asid);
      case 'grow':
        return await this.#options.grow();
      case 'abandon':
        return await this.#abandon(message.deadlineMs);
      case 'close':
        return await this.#abandon(0);
    }
  }

  #open({ features, info, asid, bounce }: Extract<ToWorker, { type: 'open' }>): void {
    const { index, syscalls, device, logger, volume, limits, inFlight, serial, spinUs, onBroken } =
      this.#options;
    const infos: QueueInfo[] = Array.from({ length: index }, () => ({ ...info, ready: false }));
    infos.push(info);
    this.#set = new QueueSet(
      {
        device,
        syscalls,
        reactor: { watch: (fd, onReady) => this.#watch(fd, onReady) },
        logger,
        volume,
        limits,
        inFlight,
        serial,
        spinUs,
        onBroken,
        onIdle: () => this.#scheduleServing(),
      },
      features,
      infos,
      asid,
      bounce,
    );
  }

  async #abandon(deadlineMs: number): Promise<boolean> {
    const set = this.#set;
    this.#set = undefined;
    return (await set?.abandon(deadlineMs)) ?? false;
  }

  /** Kicks are heard in both ways of waiting. */
  #watch(...[fd, onReady]: Parameters<Reactor['watch']>): Watch {
    const { reactor, sleep } = this.#options;
    const watch = reactor.watch(fd, onReady);
    sleep.add(fd);
    return {
      fd,
      [Symbol.dispose]: () => {
        sleep.remove(fd);
        watch[Symbol.dispose]();
      },
    };
  }

  #scheduleServing(): void {
    if (this.#scheduled || this.#serving) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      void this.#serve();
    });
  }

  async #serve(): Promise<void> {
    if (this.#serving) return;
    this.#serving = true;
    while (this.#maySleep()) {
      this.#options.sleep.wait();
      this.#set?.poke();
      // Lets microtasks have their turn, and nothing else.
      await undefined;
    }
    this.#serving = false;
    Atomics.store(this.#options.state, WorkerState.IN_FLIGHT, this.#set?.inFlight ?? 0);
  }

  #maySleep(): boolean {
    const { state } = this.#options;
    return (
      this.#set?.idle === true &&
      Atomics.load(state, WorkerState.SENT) === this.#carriedOut &&
      Atomics.load(state, WorkerState.ENDING) === 0
    );
  }
}
