import { setTimeout as delay } from 'node:timers/promises';
import type { BlockDevice } from '../../../core/api/device.ts';
import type { StoreJob } from './jobs.ts';

/** Bytes of the disk that are used. */
export const AREA = 64 * 2 ** 20;

/** Random requests on `device`, `depth` at a time, for so many seconds after a short start that does not count. */
export async function drive(device: BlockDevice, job: StoreJob, seconds: number): Promise<number> {
  const { rw, blockSize, depth } = job;
  const blocks = AREA / blockSize;
  let done = 0;
  let counts = 0;
  let over = false;
  const lane = async (): Promise<void> => {
    const iov = [new Uint8Array(blockSize).fill(1)];
    while (!over) {
      const offset = Math.floor(Math.random() * blocks) * blockSize;
      await (rw === 'randread' ? device.read(offset, iov, 0) : device.write!(offset, iov, 0));
      done += counts;
    }
  };
  const lanes = Array.from({ length: depth }, lane);
  await delay(300);
  counts = 1;
  const start = performance.now();
  await delay(seconds * 1000);
  counts = 0;
  const measured = (performance.now() - start) / 1000;
  over = true;
  await Promise.all(lanes);
  return done / measured;
}
