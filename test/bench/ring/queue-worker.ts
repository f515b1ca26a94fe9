import { workerData } from 'node:worker_threads';

import { openThreadVolume } from '../../../core/block/thread-volume.ts';
import type { QueueWorkerData } from './device.ts';
import { logger } from './open-file.ts';
import { serveQueue } from './serve-queue.ts';

const { index, volume: description, spinUs } = workerData as QueueWorkerData;
const { volume, close } = await openThreadVolume(description, logger);
await serveQueue(index, volume, logger, spinUs);
await close();
