import type { Volume } from '../../../core/api/device.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { AdaptiveSpin } from '../virtq/adaptive-spin.ts';
import type { RingGeometry } from '../virtq/virtqueue.ts';
import type { BlkLimits } from './limits.ts';

/** Told about every head between taking it and giving it back: what crash recovery needs to know. */
interface InFlightObserver {
  /** Before the request is carried out. */
  onTake(head: number): void;
  /** After the used ring element is written, before it is published. */
  onComplete(head: number): void;
}

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
  readonly observer?: InFlightObserver;
  /** Looks at the empty ring for a moment before the driver is asked for kicks. Only where the thread may be held up. */
  readonly spin?: AdaptiveSpin | undefined;
  /** Nothing is in flight any more. */
  readonly onIdle?: (() => void) | undefined;
}
