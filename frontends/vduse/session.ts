import type { MaybePromise } from '../../core/api/device.ts';
import { GatewayError } from '../../core/api/errors.ts';
import type { Logger } from '../../core/api/logger.ts';
import type { Reactor } from '../../core/system/reactor.ts';
import { featureNames, featureProblem, ringLayout } from '../virtio/blk/features.ts';
import { STATUS_DRIVER_OK, STATUS_FAILED, STATUS_FEATURES_OK } from './abi.ts';
import type { QueueInfo, VduseDevice } from './device.ts';
import { idlePositions } from './idle-positions.ts';
import type { InFlightFile } from './inflight-file.ts';
import { type Answer, MessageLoop } from './message-loop.ts';
import type { Request } from './messages.ts';
import type { OpenQueues } from './queue-home.ts';
import type { QueueHost } from './queue-host.ts';
import { settlesWithin } from './timeout.ts';

export interface SessionOptions {
  readonly device: VduseDevice;
  readonly reactor: Reactor;
  readonly logger: Logger;
  /** Sets the queues up that are ready, paused. Throws, or rejects, when they cannot be served. */
  readonly openQueues: OpenQueues;
  /** Counts once the queues are set up; cleared when a driver lets go of the device. */
  readonly inFlight: InFlightFile;
  /** Settles when the driver cannot be reached any more, as something else than the messages found out. */
  readonly lost: Promise<unknown>;
  readonly offeredFeatures: bigint;
  readonly queues: number;
  /** How long a message may wait for requests in flight. Well below the device's msg_timeout. */
  readonly drainTimeoutMs: number;
  /** False: whoever asks is not the driver that the device is for, and is refused. Default: true. */
  readonly admits?: () => boolean;
  /** Nothing touches the memory of a driver any more that was served, and that has not been told so yet. */
  readonly onAbandoned?: () => void;
  /** A driver has let go of the device; another may come. */
  readonly onReset?: () => void;
}

const OK: Answer = { ok: true };
const FAILED: Answer = { ok: false };

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
  #driverFeatures = 0n;
  /** Set while queues are being set up. */
  #opening: Promise<void> | undefined;
  /** Set while queues that a driver uses already are being taken over: messages wait for that. */
  #adopting: Promise<boolean> | undefined;
  /** There may be a driver that started the device under an earlier process: none has said otherwise yet. */
  #adoptable = true;
  #paused = false;
  /** Disposed of: whatever is still under way must not set up queues any more. */
  #ended = false;
  /** The kernel wants no queue served until the driver resets the device. */
  #suspended = false;
  /** The address space of the queues. */
  #asid = 0;

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

  /** Names of the features that the driver chose; none while there is no driver. */
  get features(): string[] {
    return this.#queues === undefined ? [] : featureNames(this.#driverFeatures);
  }

  /** Requests taken and not given back. */
  get inFlight(): number {
    return this.#queues?.inFlight ?? 0;
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
   * Goes on with a driver that started the device under an earlier process: carries out again what that process had
   * in flight. Call it after `start`, since a message that waits may say that the driver has let go. False: there is
   * none. Throws `virtio.bad-inflight-log` or `vduse.requests-outstanding` when nobody can tell what was in flight.
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
    // A message that waited, and says once more that the driver has started, may be at it already.
    if (this.#opening !== undefined) await this.#opening.catch(() => {});
    if (this.#queues !== undefined) return true;
    if (this.#options.device.features() === 0n) return false;
    const infos = this.#queueInfos();
    // The kernel does not say again that a driver has started; it follows from what it keeps.
    if (!this.#adoptable || !infos.some(({ ready }) => ready)) return false;
    await this.#startQueues(this.#features(), this.#positions(infos));
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
    this.#ended = true;
    // Queues that are being set up are found to be too late once they are.
    await this.#opening?.catch(() => {});
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
        return this.#remap();
      case 'set-vq-group-asid':
        this.#asid = request.asid;
        return this.#remap();
      case 'set-vq-ready':
        return this.#queues === undefined ? OK : this.#setReady(this.#queues, request.index, request.ready);
      case 'suspend':
        return this.#suspend();
      case 'get-vq-state':
        return this.#vqState(request.index);
      case 'unknown':
        this.#options.logger.warn('the kernel asks for something unknown', { number: request.number });
        return FAILED;
    }
  }

  #setStatus(status: number): MaybePromise<Answer> {
    if (status === 0) {
      // The kernel takes note of a reset after the answer: for a moment it looks as if there still were a driver.
      this.#adoptable = false;
      return this.#queues === undefined ? this.#forget() : this.#reset().then(() => this.#forget());
    }
    if (this.#options.admits?.() === false) return FAILED;
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
    const infos = this.#queueInfos();
    await this.#startQueues(this.#features(), this.#adoptable ? this.#positions(infos) : infos);
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
    this.#opening = this.#open(features, infos);
    try {
      await this.#opening;
    } finally {
      this.#opening = undefined;
    }
  }

  async #open(features: bigint, infos: readonly QueueInfo[]): Promise<void> {
    if (this.#ended) throw this.#closed();
    const queues = await this.#options.openQueues(features, infos, this.#asid);
    if (this.#ended) {
      await this.#abandon(queues);
      throw this.#closed();
    }
    this.#queues = queues;
    this.#options.inFlight.count();
    this.#driverFeatures = features;
    this.#running.resolve();
    this.#options.logger.info('driver started the device', { features: featureNames(features) });
  }

  #closed(): GatewayError {
    return driverRefused(this.#options.device.name, 'the disk is being stopped');
  }

  #resume(): void {
    if (!this.#paused && !this.#suspended) this.#queues?.resume();
  }

  /** When this settles, nothing touches the driver's memory any more. */
  async #reset(): Promise<void> {
    const queues = this.#queues;
    if (queues === undefined) return;
    this.#queues = undefined;
    this.#suspended = false;
    this.#running = unobserved();
    const { inFlight } = queues;
    const late = await this.#abandon(queues);
    this.#options.logger.info('driver let go of the device', { inFlight });
    this.#options.onReset?.();
    if (late) {
      this.#options.logger.warn('requests were still in flight; their memory was taken away', {
        waitedMs: this.#options.drainTimeoutMs,
      });
    }
  }

  async #abandon(queues: QueueHost): Promise<boolean> {
    const { drainTimeoutMs, onAbandoned } = this.#options;
    const late = await queues.abandon(drainTimeoutMs);
    onAbandoned?.();
    return late;
  }

  /** A disposal does not come here: whoever serves the device next needs to know what was in flight. */
  #forget(): Answer {
    this.#options.inFlight.clear();
    return OK;
  }

  async #remap(): Promise<Answer> {
    // The kernel names ranges but always means everything, and has installed the new map already. Memory of another
    // address space would not matter, but there is none, and one remap too many does no harm.
    const remapped = this.#queues?.remap(this.#asid) ?? Promise.resolve();
    return (await this.#inTime(remapped)) ? OK : FAILED;
  }

  /** Which queues were ready before DRIVER_OK is asked then. A FAILED breaks the device for good. */
  async #setReady(queues: QueueHost, index: number, ready: boolean): Promise<Answer> {
    const { device, logger } = this.#options;
    if (!ready) return (await this.#inTime(queues.stopQueue(index))) ? OK : FAILED;
    try {
      await queues.startQueue(index, device.queueInfo(index, ringLayout(device.features())));
    } catch (error) {
      logger.error('the driver cannot use a virtqueue', { queue: index, error });
    }
    return OK;
  }

  async #suspend(): Promise<Answer> {
    // As for the state of a queue: what an earlier process had in flight has to be given back first.
    await this.#adopt();
    if (this.#queues === undefined) return OK;
    this.#suspended = true;
    if (await this.#inTime(this.#queues.pause())) return OK;
    this.#suspended = false;
    this.#resume();
    return FAILED;
  }

  async #vqState(index: number): Promise<Answer> {
    const { device } = this.#options;
    // What an earlier process had in flight has to be given back before its queue can be said to stand anywhere.
    await this.#adopt();
    let { state } = device.queueInfo(index, ringLayout(device.features()));
    const stopped = this.#queues?.stopQueue(index).then((reached) => {
      state = reached ?? state;
    });
    if (stopped !== undefined && !(await this.#inTime(stopped))) return FAILED;
    return { ok: true, vqState: { index, state } };
  }

  /**
   * False: requests in flight take too long for the kernel to wait for. Two thirds of what a reset is given: that of a
   * hypervisor which is killed meanwhile comes at once, and has to be answered in its own time.
   */
  async #inTime(done: Promise<unknown>): Promise<boolean> {
    const { drainTimeoutMs, logger } = this.#options;
    const waitedMs = (drainTimeoutMs * 2) / 3;
    const inTime = await settlesWithin(done, waitedMs);
    if (!inTime) logger.error('requests in flight hold up a message of the kernel', { waitedMs });
    return inTime;
  }

  #queueInfos(): QueueInfo[] {
    const { device, queues } = this.#options;
    const layout = ringLayout(device.features());
    return Array.from({ length: queues }, (_, index) => device.queueInfo(index, layout));
  }

  /** Where an earlier process stopped. The log says it, unless it got lost. */
  #positions(infos: readonly QueueInfo[]): readonly QueueInfo[] {
    const { device, logger, inFlight } = this.#options;
    return inFlight.isLost ? idlePositions(device, logger, infos) : infos;
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
