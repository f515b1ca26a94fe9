import type { BlockDevice } from '../../../core/api/device.ts';
import type { StoreJob } from './jobs.ts';

/** Bytes of the disk that are used. */
export const AREA = 64 * 2 ** 20;

/** Random requests on `device`, `depth` at a time, for so many seconds after a short start that does not count. */
export async function drive(device: BlockDevice, job: StoreJob, seconds: number): Promise<number> {
  const { rw, blockSize, depth } = job;
  const blocks = AREA / blockSize;
  const start = performance.now() + 300;
  const end = start + seconds * 1000;
  let done = 0;
  const lane = async (): Promise<void> => {
    const iov = [new Uint8Array(blockSize).fill(1)];
    for (let now = 0; now < end; now = performance.now()) {
      const offset = Math.floor(Math.random() * blocks) * blockSize;
      await (rw === 'randread' ? device.read(offset, iov, 0) : device.write!(offset, iov, 0));
      if (now > start) done++;
    }
  };
  await Promise.all(Array.from({ length: depth }, lane));
  return done / seconds;
}
