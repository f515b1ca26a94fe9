import type { Worker } from 'node:worker_threads';
import type { Logger } from '../../../core/api/logger.ts';
import { orThrow } from '../../../core/system/errno.ts';
import { linux } from '../../../core/system/libc.ts';
import { fromWire } from '../../../core/util/wire-error.ts';
import { takeThread } from './queue-threads.ts';
import { type FromWorker, type ToWorker, type WorkerSettings, WorkerState } from './worker-messages.ts';

const ONE = new Uint8Array(new BigUint64Array([1n]).buffer);

/** Node waits at its end for threads, and cannot interrupt one that sleeps in the kernel: so they are woken then. */
const live = new Set<QueueWorker>();
process.on('exit', () => {
  for (const worker of live) worker.wakeForTheEnd();
});

export interface QueueWorkerOptions extends Omit<WorkerSettings, 'wakeFd' | 'state'> {
  readonly logger: Logger;
  readonly onBroken: (error: unknown) => void;
}

type Request = ToWorker extends infer M ? (M extends { id: number } ? Omit<M, 'id'> : never) : never;

/** The thread of one virtqueue, seen from the main thread. */
export class QueueWorker implements AsyncDisposable {
  readonly #options: QueueWorkerOptions;
  readonly #wakeFd: number;
  readonly #state = new Int32Array(new SharedArrayBuffer(WorkerState.BYTES));
  readonly #thread: Worker;
  readonly #ready = Promise.withResolvers<void>();
  readonly #exited = Promise.withResolvers<void>();
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #nextId = 0;

  private constructor(options: QueueWorkerOptions) {
    this.#options = options;
    const { logger: _logger, onBroken: _onBroken, ...settings } = options;
    this.#wakeFd = orThrow('eventfd', linux.eventfd());
    const workerSettings: WorkerSettings = {
      ...settings,
      wakeFd: this.#wakeFd,
      state: this.#state.buffer as SharedArrayBuffer,
    };
    this.#thread = takeThread(options.index);
    this.#thread.on('message', (message: FromWorker) => this.#receive(message));
    this.#thread.on('error', (error) => this.#failed(error));
    this.#thread.on('exit', () => this.#end());
    this.#thread.postMessage(workerSettings);
    live.add(this);
  }

  /** Settles when the thread has its volume open; rejects with the reason why it has not. */
  static async start(options: QueueWorkerOptions): Promise<QueueWorker> {
    const worker = new QueueWorker(options);
    await worker.#ready.promise;
    return worker;
  }

  /** Requests in flight when the thread last looked. */
  get inFlight(): number {
    return Atomics.load(this.#state, WorkerState.IN_FLIGHT);
  }

  /** Sends a message that has no answer. */
  tell(message: Extract<ToWorker, { type: 'resume' }>): void {
    this.#send(message);
  }

  async ask(request: Request): Promise<unknown> {
    const id = this.#nextId++;
    const answer = Promise.withResolvers<unknown>();
    this.#waiting.set(id, answer);
    this.#send({ ...request, id } as ToWorker);
    return await answer.promise;
  }

  wakeForTheEnd(): void {
    Atomics.store(this.#state, WorkerState.ENDING, 1);
    linux.write(this.#wakeFd, ONE);
  }

  /** Ends the thread; its driver's queue is abandoned if it was not before. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.ask({ type: 'close' });
    await this.#exited.promise;
  }

  /** The count first, the message second, the wake-up last: the thread then either has it or does not fall asleep. */
  #send(message: ToWorker): void {
    Atomics.add(this.#state, WorkerState.SENT, 1);
    this.#thread.postMessage(message);
    linux.write(this.#wakeFd, ONE);
  }

  #receive(message: FromWorker): void {
    switch (message.type) {
      case 'loaded':
        break;
      case 'ready':
        this.#ready.resolve();
        break;
      case 'answer':
        this.#take(message.id)?.resolve(message.result);
        break;
      case 'failure':
        this.#take(message.id)?.reject(fromWire(message.error));
        break;
      case 'broken':
        this.#options.onBroken(fromWire(message.error));
        break;
      case 'log':
        this.#options.logger[message.level](message.message, message.fields);
    }
  }

  #take(id: number): PromiseWithResolvers<unknown> | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    return waiting;
  }

  /**
   * A thread that throws is a bug. Once it serves, its requests are lost to it and only a new process can take them
   * up again: so this one ends.
   */
  #failed(error: unknown): void {
    this.#ready.reject(error);
    void this.#ready.promise.then(() => {
      setImmediate(() => {
        throw error;
      });
    }, nothing);
  }

  #end(): void {
    live.delete(this);
    linux.close(this.#wakeFd);
    const gone = new Error(`the thread of virtqueue ${this.#options.index} ended`);
    this.#ready.reject(gone);
    for (const waiting of this.#waiting.values()) waiting.reject(gone);
    this.#waiting.clear();
    this.#exited.resolve();
  }
}

function nothing(): void {}
