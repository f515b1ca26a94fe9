import type { RingState } from '../virtio/virtq/ring-state.ts';

/** The virtqueues of one driver, from its DRIVER_OK to its reset, in whatever thread they are served. */
export interface QueueHost {
  /** Requests taken and not given back, as far as this thread knows. */
  readonly inFlight: number;
  /** Takes requests, those that wait already first: no kick tells about them. */
  resume(): void;
  /** Takes no more requests; settles when those in flight are given back. */
  pause(): Promise<void>;
  /** As `pause`, for one queue for good: returns where a successor starts. */
  stopQueue(index: number): Promise<RingState | undefined>;
  /** Forgets what was mapped, and goes on where it stopped: the driver's memory is somewhere else now. */
  remap(): Promise<void>;
  /**
   * Ends everything after a reset: when this settles, nothing touches the driver's memory any more, or ever will.
   * Requests in flight get until `deadlineMs` from now; then their memory is taken away. True: that was necessary.
   */
  abandon(deadlineMs: number): Promise<boolean>;
}
