import type { BlkQueueOptions } from './queue-options.ts';

/** One virtqueue of a block device. Skeleton: the exported shape. */
export class BlkQueue {
  readonly index: number;

  /** Throws `virtio.bad-ring` when the rings are unmapped, misaligned or of an impossible size. */
  constructor(options: BlkQueueOptions) {
    this.index = options.index;
  }

  /** Requests taken and not given back. */
  get inFlight(): number {
    return 0;
  }

  /** Where a successor of this queue starts; exact once the queue is stopped and drained. */
  get availIndex(): number {
    return 0;
  }

  /** Serves what is available: on a kick, once after the start, and after an adoption. */
  process(): void {}

  /** Takes no further request. Those in flight complete, and are seen by the driver. */
  stop(): void {}

  /** After a reset by the driver: takes nothing, and never touches its memory again; completions are dropped. */
  abandon(): void {}

  /** Settles when nothing is in flight. Stop or abandon first. */
  async drain(): Promise<void> {}
}
