import { GatewayError } from '../../../core/api/errors.ts';
import type { RingState } from '../../virtio/virtq/ring-state.ts';
import type { QueueInfo } from '../device.ts';
import type { BounceFile } from '../own-bounce.ts';
import type { QueueHost } from '../queue-host.ts';
import { settlesWithin } from '../timeout.ts';
import { QueueWorker, type QueueWorkerOptions } from './queue-worker.ts';

/** How long a thread may take to come back beyond the time it was given. Milliseconds. */
const COMING_BACK_MS = 5_000;

/** One thread per virtqueue, for the life of a disk: drivers come and go meanwhile. */
export class QueueWorkers implements AsyncDisposable {
  readonly #workers: readonly QueueWorker[];

  private constructor(workers: readonly QueueWorker[]) {
    this.#workers = workers;
  }

  /** Settles when every thread has its volume open. */
  static async start(queues: number, options: Omit<QueueWorkerOptions, 'index'>): Promise<QueueWorkers> {
    const starts = Array.from({ length: queues }, (_, index) => QueueWorker.start({ ...options, index }));
    const outcomes = await Promise.allSettled(starts);
    const workers = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    const failure = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failure === undefined) return new QueueWorkers(workers);
    await Promise.all(workers.map((worker) => worker[Symbol.asyncDispose]()));
    throw failure.reason;
  }

  /**
   * Sets up those queues that are ready; the threads of the others are ready for them to become so. Throws what the
   * `QueueSet` of one of them throws.
   */
  async open(
    features: bigint,
    infos: readonly QueueInfo[],
    asid: number,
    bounce?: BounceFile,
  ): Promise<QueueHost> {
    const host = new WorkerQueues(this.#workers);
    try {
      await Promise.all(
        this.#workers.map((worker, index) =>
          worker.ask({ type: 'open', features, info: infos[index]!, asid, bounce }),
        ),
      );
    } catch (error) {
      await host.abandon(0);
      throw error;
    }
    return host;
  }

  /** Settles when every thread sees the size that its volume has by now. */
  async grow(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.ask({ type: 'grow' })));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker[Symbol.asyncDispose]()));
  }
}

/** The virtqueues of one driver, each in its thread. */
class WorkerQueues implements QueueHost {
  /** By the number of the virtqueue. */
  readonly #workers: readonly QueueWorker[];

  constructor(workers: readonly QueueWorker[]) {
    this.#workers = workers;
  }

  get inFlight(): number {
    return this.#workers.reduce((sum, worker) => sum + worker.inFlight, 0);
  }

  resume(): void {
    for (const worker of this.#workers) worker.tell({ type: 'resume' });
  }

  async pause(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.ask({ type: 'pause' })));
  }

  async stopQueue(index: number): Promise<RingState | undefined> {
    return (await this.#workers[index]?.ask({ type: 'stop' })) as RingState | undefined;
  }

  async startQueue(index: number, info: QueueInfo): Promise<void> {
    await this.#workers[index]?.ask({ type: 'start', info });
  }

  async remap(asid: number): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.ask({ type: 'remap', asid })));
  }

  async abandon(deadlineMs: number): Promise<boolean> {
    const answers = Promise.all(this.#workers.map((worker) => worker.ask({ type: 'abandon', deadlineMs })));
    if (!(await settlesWithin(answers, deadlineMs + COMING_BACK_MS))) throw stuck();
    return (await answers).includes(true);
  }
}

/**
 * A thread sits in a system call, on a file system that hangs, and its memory cannot be taken away from it. The reset
 * must not be answered then; the process ends, and the next one answers.
 */
function stuck(): GatewayError {
  const error = new GatewayError('vduse.queue-stuck', 'A virtqueue does not let go of the driver’s memory.', {
    why: 'Its thread waits in a system call, probably for a disk or file system that hangs.',
    fix: 'Find out what the kernel says of that file system (dmesg).',
  });
  setImmediate(() => {
    throw error;
  });
  return error;
}
