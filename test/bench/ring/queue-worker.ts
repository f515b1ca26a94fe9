import { workerData } from 'node:worker_threads';
import { offeredFeatures } from '../../../frontends/virtio/blk/features.ts';
import { blkLimits } from '../../../frontends/virtio/blk/limits.ts';
import { DriverMemory, RING_SIZE } from './driver-memory.ts';
import { fileVolume } from './file-volume.ts';
import { serveQueue } from './serve-queue.ts';

export interface QueueWorkerData {
  /** The disk's file, and its size in bytes. */
  readonly path: string;
  readonly size: number;
  /** Number of the queue. */
  readonly index: number;
}

const { path, size, index } = workerData as QueueWorkerData;
await using volume = await fileVolume(path, size);
const memory = new DriverMemory();
await serveQueue(
  {
    index,
    ring: memory.ring(index),
    memory: memory.guest,
    volume,
    features: offeredFeatures(volume.caps),
    serial: 'bench',
    limits: blkLimits(volume.caps, volume.limits, RING_SIZE),
    onBroken: (reason, cause) => {
      throw new Error(reason, { cause });
    },
    onMalformed: (defect) => console.error(`malformed request: ${defect}`),
    onRequestError: (error) => console.error(error),
  },
  memory,
);
