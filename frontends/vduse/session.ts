import type { MaybePromise } from '../../core/api/device.ts';
import { GatewayError } from '../../core/api/errors.ts';
import type { Logger } from '../../core/api/logger.ts';
import type { Reactor } from '../../core/system/reactor.ts';
import { featureNames, featureProblem } from '../virtio/blk/features.ts';
import type { GuestMemory } from '../virtio/memory/guest-memory.ts';
import { Scratch } from '../virtio/memory/scratch.ts';
import { STATUS_DRIVER_OK, STATUS_FAILED, STATUS_FEATURES_OK } from './abi.ts';
import type { QueueInfo, VduseDevice } from './device.ts';
import { Iotlb } from './iotlb.ts';
import { type Answer, MessageLoop } from './message-loop.ts';
import type { Request } from './messages.ts';
import type { QueueHost } from './queue-host.ts';
import type { OpenQueues } from './queue-opener.ts';
import { settlesWithin } from './timeout.ts';

export interface SessionOptions {
  readonly device: VduseDevice;
  readonly reactor: Reactor;
  readonly logger: Logger;
  /** Sets the queues up that are ready, paused. Throws, or rejects, when they cannot be served. */
  readonly openQueues: OpenQueues;
  /** Settles when the driver cannot be reached any more, as something else than the messages found out. */
  readonly lost: Promise<unknown>;
  readonly offeredFeatures: bigint;
  readonly queues: number;
  /** How long a message may wait for requests in flight. Well below the device's msg_timeout. */
  readonly drainTimeoutMs: number;
  /** A driver has let go of the device; another may come. */
  readonly onReset?: () => void;
}

const OK: Answer = { ok: true };
const FAILED: Answer = { ok: false };

/** Offset of `idx` in the available and the used ring. */
const RING_IDX = 2;

/**
 * One open VDUSE device: answers the driver's life cycle and keeps its queues. A driver comes with
 * FEATURES_OK and DRIVER_OK and goes with a reset; any number of them may, one after the other.
 */
export class Session implements AsyncDisposable {
  /** Settles with the reason when the device cannot be used any more; with undefined when the session is disposed. */
  readonly broken: Promise<Error | undefined>;
  readonly #options: SessionOptions;
  readonly #messages: MessageLoop;
  readonly #broken = Promise.withResolvers<Error | undefined>();
  #running = unobserved();
  #queues: QueueHost | undefined;
  /** Set while queues that a driver uses already are being taken over: messages wait for that. */
  #adopting: Promise<boolean> | undefined;
  #paused = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.broken = this.#broken.promise;
    const onBroken = (error: unknown): void => {
      this.#broken.resolve(error instanceof Error ? error : new Error(String(error)));
    };
    void options.lost.then(onBroken);
    this.#messages = new MessageLoop({ ...options, onRequest: (request) => this.#answer(request), onBroken });
  }

  /** True while a driver uses the device. */
  get driving(): boolean {
    return this.#queues !== undefined;
  }

  /** Settles when a driver has started the device; rejects with `vduse.driver-refused` when it could not. */
  get running(): Promise<void> {
    return this.#running.promise;
  }

  /** Answers messages from now on; those that wait already are answered before this returns, or soon after. */
  start(): void {
    this.#messages.start();
    this.#messages.receive();
  }

  /**
   * Goes on with a driver that started the device under an earlier process. False: there is none. Throws
   * `vduse.requests-outstanding` when that process took requests that it never gave back.
   */
  async adopt(): Promise<boolean> {
    this.#adopting = this.#adopt();
    try {
      return await this.#adopting;
    } finally {
      this.#adopting = undefined;
    }
  }

  async #adopt(): Promise<boolean> {
    if (this.#queues !== undefined) return true;
    const infos = this.#queueInfos();
    if (this.#options.device.features() === 0n || !infos.some(({ ready }) => ready)) return false;
    const features = this.#features();
    await this.#startQueues(features, this.#idlePositions(infos));
    this.#resume();
    return true;
  }

  /** Takes no more requests; settles when those in flight are given back. Messages are answered all the time. */
  async pause(): Promise<void> {
    this.#paused = true;
    await this.#queues?.pause();
  }

  /** Ends a pause. */
  resume(): void {
    this.#paused = false;
    this.#resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#messages[Symbol.dispose]();
    await this.#reset();
    this.#broken.resolve(undefined);
  }

  #answer(request: Request): MaybePromise<Answer> {
    if (this.#adopting !== undefined) {
      const answer = (): MaybePromise<Answer> => this.#answer(request);
      return this.#adopting.then(answer, answer);
    }
    switch (request.type) {
      case 'set-status':
        return this.#setStatus(request.status);
      case 'update-iotlb':
        return this.#updateIotlb();
      case 'get-vq-state':
        return this.#vqState(request.index);
      case 'unknown':
        this.#options.logger.warn('the kernel asks for something unknown', { number: request.number });
        return FAILED;
    }
  }

  #setStatus(status: number): MaybePromise<Answer> {
    if (status === 0) return this.#queues === undefined ? OK : this.#reset().then(() => OK);
    if ((status & STATUS_FAILED) !== 0) {
      this.#refuse(driverRefused(this.#options.device.name, 'the driver has given the device up'));
      return OK;
    }
    const refused = (error: unknown): Answer => {
      this.#refuse(asRefusal(this.#options.device.name, error));
      return FAILED;
    };
    try {
      if ((status & STATUS_DRIVER_OK) !== 0) return this.#driverOk().catch(refused);
      if ((status & STATUS_FEATURES_OK) !== 0) this.#features();
      return OK;
    } catch (error) {
      return refused(error);
    }
  }

  /** May come twice, and after an adoption. */
  async #driverOk(): Promise<Answer> {
    if (this.#queues !== undefined) return OK;
    await this.#startQueues(this.#features(), this.#queueInfos());
    return { ok: true, afterwards: () => this.#resume() };
  }

  /** The bits the driver chose. Throws `vduse.driver-refused` when they will not do. */
  #features(): bigint {
    const { device, offeredFeatures } = this.#options;
    const features = device.features();
    const problem = featureProblem(offeredFeatures, features);
    if (problem !== undefined) throw driverRefused(device.name, problem);
    return features;
  }

  async #startQueues(features: bigint, infos: readonly QueueInfo[]): Promise<void> {
    this.#queues = await this.#options.openQueues(features, infos);
    this.#running.resolve();
    this.#options.logger.info('driver started the device', { features: featureNames(features) });
  }

  #resume(): void {
    if (!this.#paused) this.#queues?.resume();
  }

  /** When this settles, nothing touches the driver's memory any more. */
  async #reset(): Promise<void> {
    const queues = this.#queues;
    if (queues === undefined) return;
    this.#queues = undefined;
    this.#running = unobserved();
    const { inFlight } = queues;
    const late = await queues.abandon(this.#options.drainTimeoutMs);
    this.#options.logger.info('driver let go of the device', { inFlight });
    this.#options.onReset?.();
    if (late) {
      this.#options.logger.warn('requests were still in flight; their memory was taken away', {
        waitedMs: this.#options.drainTimeoutMs,
      });
    }
  }

  async #updateIotlb(): Promise<Answer> {
    // The kernel names ranges but always means everything, and has installed the new map already.
    const remapped = this.#queues?.remap() ?? Promise.resolve();
    return (await this.#inTime(remapped)) ? OK : FAILED;
  }

  async #vqState(index: number): Promise<Answer> {
    const { device } = this.#options;
    let availIndex = device.queueInfo(index).availIndex;
    const stopped = this.#queues?.stopQueue(index).then((position) => {
      availIndex = position ?? availIndex;
    });
    if (stopped !== undefined && !(await this.#inTime(stopped))) return FAILED;
    return { ok: true, vqState: { index, availIndex } };
  }

  /** False: requests in flight take too long for the kernel to wait for. */
  async #inTime(done: Promise<void>): Promise<boolean> {
    const { drainTimeoutMs, logger } = this.#options;
    const inTime = await settlesWithin(done, drainTimeoutMs);
    if (!inTime)
      logger.error('requests in flight hold up a message of the kernel', { waitedMs: drainTimeoutMs });
    return inTime;
  }

  #queueInfos(): QueueInfo[] {
    const { device, queues } = this.#options;
    return Array.from({ length: queues }, (_, index) => device.queueInfo(index));
  }

  /**
   * Where an earlier process stopped, read from the rings: the kernel only knows where the driver started. Whatever
   * was taken and not given back cannot be told from the rings, since completions are published in any order.
   */
  #idlePositions(infos: readonly QueueInfo[]): QueueInfo[] {
    const { device, logger } = this.#options;
    const iotlb = new Iotlb(device, logger);
    try {
      return infos.map((info, index) => {
        if (!info.ready) return info;
        const available = readU16(iotlb.memory, info.driverAddr + RING_IDX);
        const used = readU16(iotlb.memory, info.deviceAddr + RING_IDX);
        const outstanding = (available - used) & 0xffff;
        if (outstanding !== 0) throw requestsOutstanding(device.name, index, outstanding);
        return { ...info, availIndex: used };
      });
    } finally {
      void iotlb.retire();
    }
  }

  #refuse(error: GatewayError): void {
    this.#options.logger.error('the driver cannot use the device', { why: error.why, error: error.cause });
    this.#running.reject(error);
    this.#running = unobserved();
  }
}

/** A promise that nobody has to wait for: its rejection alone is no bug. */
function unobserved(): PromiseWithResolvers<void> {
  const resolvers = Promise.withResolvers<void>();
  resolvers.promise.catch(() => {});
  return resolvers;
}

function readU16(memory: GuestMemory, iova: number): number {
  const scratch = new Scratch(2);
  if (!memory.read(iova, 2, scratch, 0)) throw new Error(`the ring at 0x${iova.toString(16)} is not mapped`);
  return new DataView(scratch.bytes.buffer).getUint16(0, true);
}

function asRefusal(name: string, error: unknown): GatewayError {
  if (!GatewayError.is(error)) return driverRefused(name, String(error), error);
  return error.code === 'vduse.driver-refused'
    ? error
    : driverRefused(name, error.why ?? error.message, error);
}

function driverRefused(name: string, why: string, cause?: unknown): GatewayError {
  return new GatewayError('vduse.driver-refused', `The driver cannot use the VDUSE device "${name}".`, {
    why: `${why[0]!.toUpperCase()}${why.slice(1).replace(/\.$/, '')}.`,
    fix: 'Look at the kernel’s log (dmesg) for what the driver says.',
    cause,
  });
}

function requestsOutstanding(name: string, queue: number, count: number): GatewayError {
  return new GatewayError(
    'vduse.requests-outstanding',
    `The VDUSE device "${name}" cannot be served again: ${count} requests are unanswered.`,
    {
      why: `An earlier process took requests from virtqueue ${queue} and ended without answering; which ones cannot be told.`,
      fix: 'Restart this machine (the virtual machine, if it is one). What was flushed to the disk before is safe.',
    },
  );
}
