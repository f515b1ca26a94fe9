import { statSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { QueueWorkerData } from './queue-worker.ts';

/**
 * The device under test: serves FILE to the driver that started this process (driver.c), a thread per queue.
 * Usage: node device.ts FILE QUEUES
 */
const [path, queues] = process.argv.slice(2);
if (path === undefined || queues === undefined) throw new Error('usage: device.ts FILE QUEUES');
const { size } = statSync(path);
for (let index = 0; index < Number(queues); index++) {
  const workerData: QueueWorkerData = { path, size, index };
  new Worker(new URL('./queue-worker.ts', import.meta.url), { workerData, trackUnmanagedFds: false });
}
