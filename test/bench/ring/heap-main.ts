import { writeFileSync } from 'node:fs';
import { PerformanceObserver } from 'node:perf_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import { adaptDevice } from '../../../core/block/layers.ts';
import { resolve } from '../../../core/block/resolve.ts';
import { DiskVolume } from '../../../core/block/volume.ts';
import { inFlightLogBytes } from '../../../frontends/virtio/virtq/inflight.ts';
import { QueueRig } from '../../frontends/virtio/blk/queue-rig.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { logger, openFile } from './open-file.ts';

/**
 * What requests that complete synchronously leave on the heap, and how much garbage they make on the way: a block queue
 * on the file backend, with the file in the page cache. Needs --expose-gc. Status 1 when the heap grows.
 */
const WARMUP = 1_000_000;
const REQUESTS = 10_000_000;
const BATCH = 100_000;
const DEPTH = 32;
const ENTRIES = 64;
const DISK = 2 ** 20;
/** What comes and goes without having to do with requests; a hundredth of a byte for each would be more. */
const ALLOWED = 64 * 1024;

let collections = 0;
const observer = new PerformanceObserver((list) => {
  collections += list.getEntries().length;
});
observer.observe({ entryTypes: ['gc'] });

async function heapUsed(): Promise<number> {
  // The second turn is for the observer, which is told about these collections too.
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
const inFlightLog = new Uint8Array(inFlightLogBytes(ENTRIES));
const rig = new QueueRig({ num: ENTRIES, queue: { volume, inFlightLog } });
const { driver, queue, broken, errors } = rig;
const ring = rig.split;
const heads = Array.from({ length: DEPTH }, (_, i) => {
  const framing = { readable: [16, 4096], writable: [4096], indirect: true };
  const sector = i * 8;
  const sent =
    i % 2 ? driver.read(sector, 4096, framing) : driver.write(sector, new Uint8Array(4096), framing);
  return sent.head;
});
queue.process();

async function serve(requests: number): Promise<void> {
  for (let served = 0; served < requests; served += BATCH) {
    for (let i = 0; i < BATCH; i += DEPTH) {
      for (const head of heads) ring.offerRaw(head);
      queue.process();
    }
    await turn();
  }
}

await serve(WARMUP);
const before = await heapUsed();
collections = 0;
const start = performance.now();
await serve(REQUESTS);
const garbage = collections;
const seconds = (performance.now() - start) / 1000;
const growth = (await heapUsed()) - before;
if (broken.length > 0 || errors.length > 0 || volume.inFlight > 0)
  throw new Error('not every request was served', { cause: errors[0] ?? broken[0] });
process.stdout.write(
  `${REQUESTS} requests in ${seconds.toFixed(1)} s: the heap changed by ${growth} bytes, ` +
    `with ${garbage} garbage collections on the way\n`,
);
process.exitCode = growth > ALLOWED ? 1 : 0;
