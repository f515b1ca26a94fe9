import { writeFileSync } from 'node:fs';
import { PerformanceObserver } from 'node:perf_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import { adaptDevice } from '../../../core/block/layers.ts';
import { resolve } from '../../../core/block/resolve.ts';
import { DiskVolume } from '../../../core/block/volume.ts';
import { QueueRig } from '../../frontends/virtio/blk/queue-rig.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { logger, openFile } from './open-file.ts';

/**
 * What requests that complete synchronously leave on the heap, and how much garbage they make on the way: a block queue
 * on the file backend, with the file in the page cache. Needs --expose-gc. Status 1 when the heap grows.
 */
const WARMUP = 500_000;
const REQUESTS = 10_000_000;
const BATCH = 100_000;
const DEPTH = 32;
const DISK = 2 ** 20;
/** What may come and go without having to do with requests: code that is optimized, the observer of the collector. */
const ALLOWED = 64 * 1024;

let collections = 0;
new PerformanceObserver((list) => (collections += list.getEntries().length)).observe({ entryTypes: ['gc'] });

async function heapUsed(): Promise<number> {
  await turn();
  gc!();
  gc!();
  await turn();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

using folder = tempFolder();
const path = folder.file('disk.img');
writeFileSync(path, new Uint8Array(DISK));
await using device = await openFile(path);
const volume = new DiskVolume('bench', adaptDevice(resolve(device, 'file')).device, logger);
const { ring, driver, queue, broken, errors } = new QueueRig({ num: 64, queue: { volume } });
const heads = Array.from({ length: DEPTH }, (_, i) => {
  const framing = { readable: [16, 4096], writable: [4096], indirect: i % 4 < 2 };
  return i % 2
    ? driver.read(i * 8, 4096, framing).head
    : driver.write(i * 8, new Uint8Array(4096), framing).head;
});
queue.process();

async function serve(requests: number): Promise<void> {
  for (let served = 0; served < requests; served += BATCH) {
    for (let i = 0; i < BATCH; i += DEPTH) {
      for (const head of heads) ring.offerRaw(head);
      queue.process();
    }
    // The event loop tells the observer what the collector has done.
    await turn();
  }
}

await serve(WARMUP);
const before = await heapUsed();
await turn();
collections = 0;
const start = performance.now();
await serve(REQUESTS);
const garbage = collections;
const seconds = (performance.now() - start) / 1000;
const growth = (await heapUsed()) - before;
if (broken.length > 0 || errors.length > 0 || ring.publishedIndex !== queue.availIndex)
  throw new Error('not every request was served', { cause: errors[0] ?? broken[0] });
process.stdout.write(
  `${REQUESTS} requests in ${seconds.toFixed(1)} s: the heap changed by ${growth} bytes, ` +
    `with ${garbage} garbage collections on the way\n`,
);
process.exitCode = growth > ALLOWED ? 1 : 0;
