import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { ThreadVolume } from '../../../core/api/device.ts';
import { threadVolume } from '../../../core/block/thread-volume.ts';
import { openFile } from './open-file.ts';

/**
 * The device under test: serves FILE to the driver that has started this process (driver.c), a thread per queue.
 * Usage: node device.ts FILE QUEUES SPIN
 */

/** `workerData` of queue-worker.ts. */
export interface QueueWorkerData {
  /** Number of the queue. */
  readonly index: number;
  readonly volume: ThreadVolume;
  /** Microseconds that a queue may look at an empty ring. */
  readonly spinUs: number;
}

const [path, queues, spin] = process.argv.slice(2);
if (path === undefined || spin === undefined) throw new Error('usage: device.ts FILE QUEUES SPIN');
await using device = await openFile(path);
const volume = threadVolume({
  name: 'bench',
  backend: 'file',
  readOnly: false,
  opener: device.perThread,
  filters: 0,
  automatic: [],
});
const workers = Array.from({ length: Number(queues) }, (_, index) => {
  const workerData: QueueWorkerData = { index, volume: volume!, spinUs: Number(spin) };
  return new Worker(new URL('./queue-worker.ts', import.meta.url), { workerData, trackUnmanagedFds: false });
});
await Promise.all(workers.map((worker) => once(worker, 'exit')));
