import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlockDevice } from '../../../../core/plugin.ts';
import { seededRandom } from '../../../../core/util/random.ts';
import { BLOCK, fill, GIB, KIB, MIB, type Row, time, withFolder } from '../measure.ts';
import { Rig } from '../rig.ts';
import { withCold } from './reading.ts';

/** Of the image, which is larger than what a boot reads of it. Bytes. */
const IMAGE = GIB;
const READ = 130 * MIB;
/** As far as the kernel reads ahead. */
const REQUEST = 128 * KIB;
/** Programs that start side by side, and wait for what they read. */
const AT_ONCE = 4;

interface Run {
  readonly offset: number;
  readonly length: number;
}

/** What a boot reads: files of 4 KiB to 1 MiB, most of them small, all over the image. The same with each call. */
function bootRuns(): readonly Run[] {
  const next = seededRandom(26);
  const runs: Run[] = [];
  for (let bytes = 0; bytes < READ; ) {
    const length = Math.ceil(2 ** (next() * 8)) * BLOCK;
    runs.push({ offset: Math.floor((next() * (IMAGE - length)) / BLOCK) * BLOCK, length });
    bytes += length;
  }
  return runs;
}

/** Milliseconds until everything is read, where `read` is asked in the order of a boot. */
async function boot(read: (offset: number, data: Uint8Array) => unknown): Promise<number> {
  const runs = bootRuns();
  let started = 0;
  const program = async (): Promise<void> => {
    while (started < runs.length) {
      const { offset, length } = runs[started++]!;
      for (let at = 0; at < length; at += REQUEST)
        await read(offset + at, new Uint8Array(Math.min(REQUEST, length - at)));
    }
  };
  return time(() => Promise.all(Array.from({ length: AT_ONCE }, program)));
}

/** The same reads of a file that is in the page cache. Milliseconds. */
const bootOfFile = () =>
  withFolder(async (folder) => {
    const file = await open(join(folder, 'image'), 'w+');
    try {
      for (let at = 0; at < IMAGE; at += MIB) await file.write(Buffer.alloc(MIB, 0x5a), 0, MIB, at);
      return await boot((offset, data) => file.read(data, 0, data.length, offset));
    } finally {
      await file.close();
    }
  });

const bootOf = (device: BlockDevice): Promise<number> =>
  boot((offset, data) => device.read(offset, [data], 0));

const row = (how: string, target: number, measure: () => Promise<number>): Row => ({
  what: `P26 reads of a boot, 130 MB, ${how}, beyond those of a local file, 20 ms`,
  unit: 'ms',
  target,
  goal: 300,
  isMost: true,
  measure: async () => (await measure()) - (await bootOfFile()),
});

/** At the second boot of a disk, the first of which was recorded. */
async function withProfile(): Promise<number> {
  await using rig = await Rig.start(20);
  const config = await rig.create(IMAGE, {
    maxRequests: 64,
    readCache: '256MiB',
    bootProfile: { seconds: 3600 },
  });
  const boots = async <T>(use: (device: BlockDevice) => Promise<T>): Promise<T> => {
    await using device = await rig.open(config);
    return await use(device);
  };
  await boots((device) => fill(device, IMAGE));
  await boots(bootOf);
  return await boots(bootOf);
}

export const BOOT: readonly Row[] = [
  row('cold', 8000, () => withCold(IMAGE, { maxRequests: 64 }, bootOf)),
  row('with its profile', 6500, withProfile),
];
