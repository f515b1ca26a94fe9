import { setTimeout as delay } from 'node:timers/promises';
import type { BlockDevice } from '../../../core/plugin.ts';
import { seededRandom } from '../../../core/util/random.ts';
import { Rig } from './rig.ts';

const KIB = 1024;
const MIB = KIB * KIB;
const BLOCK = 4 * KIB;
const IMAGE = 1024 * MIB;

interface Read {
  readonly at: number;
  readonly length: number;
}

/** What a guest reads that boots: pieces of up to 512 KiB of an image, in requests of up to 128 KiB; 130 MiB in all. */
function bootReads(): Read[] {
  const random = seededRandom(1);
  const reads: Read[] = [{ at: 0, length: BLOCK }];
  for (let total = 0; total < 130 * MIB; ) {
    let at = Math.floor((random() * (IMAGE - MIB)) / BLOCK) * BLOCK;
    for (let left = Math.ceil(random() ** 2 * 128) * BLOCK; left > 0; ) {
      const length = Math.min(left, Math.ceil(random() * 32) * BLOCK);
      reads.push({ at, length });
      at += length;
      left -= length;
      total += length;
    }
  }
  return reads;
}

const read = (device: BlockDevice, { at, length }: Read) => device.read(at, [Buffer.allocUnsafe(length)], 0);

/** Seconds that a guest waits which boots a second time, one read after the other, its first boot having been recorded. */
export async function secondBoot(): Promise<number> {
  const reads = bootReads();
  await using rig = await Rig.start(20);
  const config = await rig.create(IMAGE, { readCache: '256MiB', bootProfile: { seconds: 3600 } });
  {
    await using device = await rig.open(config);
    const iov = [Buffer.alloc(MIB, 0x5a)];
    for (let at = 0; at < IMAGE; at += MIB) await device.write!(at, iov, 0);
    await device.flush!(0);
  }
  {
    await using device = await rig.open(config);
    // The profile of a new volume: that there is none.
    await delay(200);
    // Many at once: only their order counts.
    for (let i = 0; i < reads.length; i += 64)
      await Promise.all(reads.slice(i, i + 64).map((one) => read(device, one)));
  }
  await using device = await rig.open(config);
  const start = performance.now();
  for (const one of reads) await read(device, one);
  return (performance.now() - start) / 1000;
}
