import type { Volume } from '../../../core/api/device.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { AdaptiveSpin } from '../virtq/adaptive-spin.ts';
import type { RingGeometry } from '../virtq/virtqueue.ts';
import type { BlkLimits } from './limits.ts';
import type { UnflushedWrites } from './unflushed-writes.ts';

export interface BlkQueueOptions {
  /** Number of the virtqueue; for messages. */
  readonly index: number;
  readonly ring: RingGeometry;
  /** The generation of guest memory the queue lives in; pinned until the queue has ended. */
  readonly memory: GuestMemory;
  readonly volume: Volume;
  /** The bits the driver chose. */
  readonly features: bigint;
  /** Answer to GET_ID: at most 20 ASCII characters, more are cut off. */
  readonly serial: string;
  readonly limits: BlkLimits;
  /** Interrupts the driver. Called only when the driver asked for it. */
  readonly notify: () => void;
  /** Runs `fn` in a later turn of the event loop (`setImmediate`): how a busy queue lets others have theirs. */
  readonly schedule: (fn: () => void) => void;
  /** The queue takes nothing any more, because of `reason`. What it took before still completes. Called once. */
  readonly onBroken: (reason: string, cause?: unknown) => void;
  /** A request failed in the volume, and why. The guest has been told IOERR or UNSUPP. */
  readonly onRequestError?: (error: unknown) => void;
  /** The driver sent a chain that is no request, and why not. It has been given back. */
  readonly onMalformed?: (defect: string) => void;
  /** Told of writes and flushes of all queues of the device, where it matters. */
  readonly unflushed?: UnflushedWrites | undefined;
  /** Looks at the empty ring for a moment before the driver is asked for kicks. Only where the thread may be held up. */
  readonly spin?: AdaptiveSpin | undefined;
  /** Nothing is in flight any more. */
  readonly onIdle?: (() => void) | undefined;
  /**
   * Memory that outlives the process and tells the next one what was in flight: `inFlightLogBytes` of it, zero at
   * first. A log that is in use decides where the queue starts, and `ring` does not.
   */
  readonly inFlightLog?: Uint8Array;
}
