import { join } from 'node:path';
import type { BlockDevice } from '../../../../core/plugin.ts';
import { BLOCK, fill, GIB, type Lengths, MIB, type Row, rate, someBlock, withFolder } from '../measure.ts';
import { Rig } from '../rig.ts';

const AREA = 256 * MIB;

/** A disk whose first bytes were written by somebody else, so that it has nothing of them in memory. */
export async function withCold<T>(
  filled: number,
  options: Record<string, unknown>,
  use: (device: BlockDevice, rig: Rig) => Promise<T>,
): Promise<T> {
  await using rig = await Rig.start(20);
  const config = await rig.create(64 * GIB, options);
  const writer = await rig.open(config);
  await fill(writer, filled);
  await writer[Symbol.asyncDispose]();
  const device = await rig.open(config);
  try {
    rig.reset();
    return await use(device, rig);
  } finally {
    await device[Symbol.asyncDispose]();
  }
}

const readBlock = (device: BlockDevice) => device.read(someBlock(AREA), [new Uint8Array(BLOCK)], 0);

const cold =
  (lanes: number) =>
  ({ seconds }: Lengths) =>
    withCold(AREA, { maxRequests: 256, readCache: '1MiB' }, (device) =>
      rate(lanes, seconds, () => readBlock(device)),
    );

/** Everything is on the local disk; hardly anything is in memory. */
const cached = ({ seconds }: Lengths) =>
  withFolder((folder) => {
    const diskCache = { path: join(folder, 'cache'), size: 2 * AREA };
    return withCold(AREA, { diskCache, readCache: '1MiB', maxRequests: 64 }, async (device, rig) => {
      for (let at = 0; at < AREA; at += MIB) await device.read(at, [new Uint8Array(MIB)], 0);
      rig.reset();
      const result = await rate(32, seconds, () => readBlock(device));
      const { read } = rig.requests;
      if (read > (result * seconds) / 100) throw new Error(`${read} reads went to the store`);
      return result;
    });
  });

export const READING: readonly Row[] = [
  {
    what: 'P8 4 KiB read, cold, QD32, 20 ms',
    unit: 'IOPS',
    target: 1400,
    goal: 1550,
    measure: cold(32),
  },
  {
    what: 'P8 4 KiB read, cold, QD256, 20 ms',
    unit: 'IOPS',
    target: 9000,
    goal: 12_000,
    measure: cold(256),
  },
  {
    what: 'P9 4 KiB read, cached on the local disk, QD32',
    unit: 'IOPS',
    target: 80_000,
    goal: 200_000,
    measure: cached,
  },
  {
    what: 'P11 1 MiB sequential read, cold, 20 ms',
    unit: 'MiB/s',
    target: 272,
    goal: 5120,
    hasPeer: true,
    measure: ({ seconds }) =>
      withCold(512 * MIB, { maxRequests: 64, readCache: '64MiB' }, (device) => {
        let at = 0;
        return rate(1, seconds, () => device.read((at++ % 512) * MIB, [new Uint8Array(MIB)], 0));
      }),
  },
];
