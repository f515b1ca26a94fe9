import { setTimeout as delay } from 'node:timers/promises';
import { requestPrice, S3_STANDARD } from '../../../../backends/s3/store/prices.ts';
import { BLOCK, fill, GIB, MIB, type Row, someBlock, withDisk } from '../measure.ts';
import type { Requests } from '../rig.ts';

/** Dollars; deletions are free. */
const priceOf = ({ put, list, get, read, head }: Requests): number =>
  (put + list) * requestPrice('PUT', S3_STANDARD) + (get + read + head) * requestPrice('GET', S3_STANDARD);

export const COSTS: readonly Row[] = [
  {
    what: 'P12 PUTs per GiB written',
    unit: 'PUTs',
    target: 40,
    goal: 8.5,
    isMost: true,
    measure: () =>
      withDisk(20, 64 * GIB, async (device, rig) => {
        await fill(device, GIB);
        return rig.requests.put;
      }),
  },
  {
    what: 'P13 PUTs per flush, QD1',
    unit: 'PUTs',
    target: 1.03,
    goal: 1.02,
    isMost: true,
    hasPeer: true,
    measure: () =>
      withDisk(1, GIB, async (device, rig) => {
        for (let i = 0; i < 1000; i++) {
          await device.write!(someBlock(GIB), [new Uint8Array(BLOCK).fill(1)], 0);
          await device.flush!(0);
        }
        return rig.requests.put / 1000;
      }),
  },
  {
    what: 'P14 requests of 1 TB written, in order, over and over, 1 GiB',
    unit: '$',
    target: 0.25,
    goal: 0.05,
    isMost: true,
    measure: () =>
      withDisk(20, GIB, async (device, rig) => {
        const rounds = 3;
        for (let round = 0; round < rounds; round++) await fill(device, GIB);
        return (priceOf(rig.requests) / (rounds * GIB)) * 1e12;
      }),
  },
  {
    what: 'P15 requests of an idle disk, in 10 s',
    unit: 'requests',
    target: 0,
    goal: 0,
    isMost: true,
    measure: () =>
      withDisk(1, GIB, async (device, rig) => {
        await device.write!(0, [new Uint8Array(BLOCK)], 0);
        await device.flush!(0);
        await delay(3000);
        rig.reset();
        await delay(10_000);
        return rig.total;
      }),
  },
  {
    what: 'P22 PUTs of a snapshot, after a write',
    unit: 'PUTs',
    target: 3,
    goal: 1,
    isMost: true,
    measure: () =>
      withDisk(1, GIB, async (device, rig) => {
        await fill(device, 16 * MIB);
        await device.write!(0, [new Uint8Array(BLOCK).fill(1)], 0);
        rig.reset();
        await device.snapshot!('one');
        return rig.requests.put;
      }),
  },
];
