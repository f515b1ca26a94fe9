import { setTimeout as delay } from 'node:timers/promises';
import { seededRandom } from '../../../../core/util/random.ts';
import { BLOCK, fill, MIB, type Row, withDisk } from '../measure.ts';
import type { Rig } from '../rig.ts';

const AREA = 512 * MIB;
const BLOCKS = AREA / BLOCK;
const SEED = 1;
/** A little above the bound is allowed: what becomes garbage between two checkpoints. */
const SLACK = 1.03;
/** The guest waits at most so long for the collector. Milliseconds. */
const PATIENCE = 5000;

/** Which block is written next. */
type Pick = () => number;

const uniform = (): Pick => {
  const next = seededRandom(SEED);
  return () => Math.floor(next() * BLOCKS);
};

/** The block of rank r is written in proportion to 1 / r^`skew`; ranks lie all over the disk. */
const zipf = (skew: number) => (): Pick => {
  const next = seededRandom(SEED);
  const upTo = new Float64Array(BLOCKS);
  let sum = 0;
  for (let rank = 0; rank < BLOCKS; rank++) upTo[rank] = sum += (rank + 1) ** -skew;
  return () => {
    const wanted = next() * sum;
    let [low, high] = [0, BLOCKS - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (upTo[middle]! < wanted) low = middle + 1;
      else high = middle;
    }
    // Odd, so that each rank has a block of its own.
    return (low * 40503) % BLOCKS;
  };
};

/** The log must not be larger than it may be: the guest is held back until the collector has come after it. */
async function withinBound(rig: Rig, space: number): Promise<void> {
  const most = AREA * space * SLACK;
  for (let waited = 0; rig.stored > most; waited += 10) {
    if (waited > PATIENCE)
      throw new Error(`the log stays at ${(rig.stored / AREA).toFixed(2)} times the disk`);
    await delay(10);
  }
}

async function overwrite(
  device: { write?: (offset: number, iov: readonly Uint8Array[], flags: number) => unknown },
  rig: Rig,
  space: number,
  pick: Pick,
  count: number,
): Promise<void> {
  const iov = [new Uint8Array(BLOCK).fill(1)];
  for (let i = 0; i < count; i++) {
    await device.write!(pick() * BLOCK, iov, 0);
    if (i % 256 === 255) await withinBound(rig, space);
  }
}

/** Bytes sent for each byte written, on a full disk whose log has been as large as it may be for a while. */
const amplification = (space: number, picks: () => Pick) => () =>
  withDisk(
    1,
    AREA,
    async (device, rig) => {
      await fill(device, AREA);
      const pick = picks();
      await overwrite(device, rig, space, pick, BLOCKS);
      await device.flush!(0);
      rig.reset();
      await overwrite(device, rig, space, pick, BLOCKS);
      await device.flush!(0);
      return rig.requests.sent / AREA;
    },
    { spaceAmplification: space },
  );

const row = (what: string, target: number, goal: number, measure: Row['measure']): Row => ({
  what,
  unit: '×',
  target,
  goal,
  isMost: true,
  measure,
});

export const COLLECTION: readonly Row[] = [
  row('P16 bytes sent per byte, uniform overwrites, space ≤ 1.4', 2.1, 1.95, amplification(1.4, uniform)),
  row('P16 bytes sent per byte, uniform overwrites, space ≤ 1.5', 1.8, 1.7, amplification(1.5, uniform)),
  row('P17 bytes sent per byte, Zipf 1.1, space ≤ 1.25', 1.35, 1.1, amplification(1.25, zipf(1.1))),
  row('P18 bytes stored per byte, idle after overwrites, space ≤ 1.1', 1.1, 1.05, () =>
    withDisk(
      1,
      AREA,
      async (device, rig) => {
        await fill(device, AREA);
        await overwrite(device, rig, 10, uniform(), BLOCKS / 2);
        await device.flush!(0);
        let before = -1;
        while (rig.stored !== before) {
          before = rig.stored;
          await delay(2000);
        }
        return rig.stored / AREA;
      },
      { spaceAmplification: 1.1 },
    ),
  ),
];
