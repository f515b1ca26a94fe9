import type { MaybePromise } from '../../core/api/device.ts';
import type { RingState } from '../virtio/virtq/ring-state.ts';
import type { QueueInfo } from './device.ts';

/** The virtqueues of one driver, from its DRIVER_OK to its reset, in whatever thread they are served. */
export interface QueueHost {
  /** Requests taken and not given back, as far as this thread knows. */
  readonly inFlight: number;
  /** Takes requests, those that wait already first: no kick tells about them. */
  resume(): void;
  /** Takes no more requests; settles when those in flight are given back. */
  pause(): Promise<void>;
  /** As `pause`, for one queue until it is started: returns where a successor starts, also when it is stopped already. */
  stopQueue(index: number): Promise<RingState | undefined>;
  /**
   * Sets one more queue up, or one that was stopped: that one goes on where it stopped, unless the driver says
   * otherwise. Throws `virtio.bad-ring` or `SystemError`; the other queues go on.
   */
  startQueue(index: number, info: QueueInfo): MaybePromise<void>;
  /** Forgets what was mapped, and goes on where it stopped: the driver's memory is in `asid` now, or was moved there. */
  remap(asid: number): Promise<void>;
  /**
   * Ends everything after a reset: when this settles, nothing touches the driver's memory any more, or ever will.
   * Requests in flight get until `deadlineMs` from now; then their memory is taken away. True: that was necessary.
   */
  abandon(deadlineMs: number): Promise<boolean>;
}
