import type { ThreadVolume } from '../../../core/api/device.ts';
import type { ForwardedLine } from '../../../core/util/forwarding-logger.ts';
import type { WireError } from '../../../core/util/wire-error.ts';
import type { BlkLimits } from '../../virtio/blk/limits.ts';
import type { QueueInfo } from '../device.ts';
import type { BounceFile } from '../own-bounce.ts';

/** What the thread of the messages and the thread of a queue say to each other. */

/** `workerData` of a queue's thread. */
export interface ThreadPreload {
  /** URL of what the volume will be opened with, where that is known already. */
  readonly volumeModule?: string;
}

/** The first message to a queue's thread: which queue it serves. */
export interface WorkerSettings {
  /** Number of the virtqueue. */
  readonly index: number;
  /** The VDUSE device, open in this process. */
  readonly device: { readonly fd: number; readonly name: string };
  readonly volume: ThreadVolume;
  readonly limits: BlkLimits;
  /** The file with the logs of requests in flight, which each thread maps for itself. */
  readonly inFlight: { readonly path: string; readonly queues: number; readonly queueSize: number };
  readonly serial: string;
  readonly spinUs: number;
  /** Eventfd that interrupts the thread's sleep. */
  readonly wakeFd: number;
  /** `WorkerState` words. */
  readonly state: SharedArrayBuffer;
}

/** Words of memory that both threads see. */
export const WorkerState = {
  /** Messages sent to the worker so far. While it has carried out fewer, it must not sleep. */
  SENT: 0,
  /** Requests in flight when the worker last looked. */
  IN_FLIGHT: 1,
  /** Not 0: the process is ending, and the worker must not sleep. */
  ENDING: 2,
  BYTES: 12,
} as const;

/** Those with an `id` are answered. */
export type ToWorker =
  | {
      readonly type: 'open';
      readonly id: number;
      readonly features: bigint;
      readonly info: QueueInfo;
      readonly asid: number;
      readonly bounce?: BounceFile | undefined;
    }
  | { readonly type: 'resume' }
  | { readonly type: 'pause' | 'stop' | 'grow' | 'close'; readonly id: number }
  | { readonly type: 'start'; readonly id: number; readonly info: QueueInfo }
  | { readonly type: 'remap'; readonly id: number; readonly asid: number }
  | { readonly type: 'abandon'; readonly id: number; readonly deadlineMs: number };

export type FromWorker =
  /** It waits for its settings. */
  | { readonly type: 'loaded' }
  /** It has its volume open. */
  | { readonly type: 'ready' }
  | { readonly type: 'answer'; readonly id: number; readonly result: unknown }
  | { readonly type: 'failure'; readonly id: number; readonly error: WireError }
  /** The driver cannot be reached any more. */
  | { readonly type: 'broken'; readonly error: WireError }
  | ({ readonly type: 'log' } & ForwardedLine);
