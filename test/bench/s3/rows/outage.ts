import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { BlockDevice } from '../../../../core/plugin.ts';
import { BLOCK, fill, GIB, type Lengths, MIB, type Row, time, withFolder } from '../measure.ts';
import { Rig } from '../rig.ts';

const LANES = 4;
/** Blocks that one lane writes: nobody else does. */
const EACH = (GIB / BLOCK / LANES) | 0;
/** A request that gets no answer for so long is sent again. Seconds. */
const TIMEOUT = 2;

interface Outage {
  /** Requests of the guest that failed, and blocks that are not what was flushed last. */
  readonly errors: number;
  /** How long it took until the store had everything, for each time that storing as much takes otherwise. */
  readonly drain: number;
}

/** Writes and flushes until `over`; what each block was written with last, once that was flushed. */
async function load(device: BlockDevice, over: AbortSignal) {
  const flushed = new Map<number, number>();
  let errors = 0;
  const lane = async (number: number): Promise<void> => {
    for (let i = 1; !over.aborted; i++) {
      const block = number * EACH + Math.floor(Math.random() * EACH);
      const data = Buffer.alloc(BLOCK);
      data.writeUInt32LE(block, 0);
      data.writeUInt32LE(i, 4);
      try {
        await device.write!(block * BLOCK, [data], 0);
        await device.flush!(0);
        flushed.set(block, i);
      } catch {
        errors++;
        await delay(100);
      }
    }
  };
  await Promise.all(Array.from({ length: LANES }, (_, number) => lane(number)));
  return { flushed, errors };
}

async function lost(device: BlockDevice, flushed: ReadonlyMap<number, number>): Promise<number> {
  let differ = 0;
  const data = Buffer.alloc(MIB);
  for (let at = 0; at < GIB; at += MIB) {
    await device.read(at, [data], 0);
    for (let offset = 0; offset < MIB; offset += BLOCK) {
      const block = (at + offset) / BLOCK;
      const wanted = flushed.get(block);
      const isSame = data.readUInt32LE(offset) === block && data.readUInt32LE(offset + 4) === wanted;
      if (wanted !== undefined && !isSame) differ++;
    }
  }
  return differ;
}

/** The store answers nothing for a while, in the middle of writes and flushes that a journal answers. */
const outage = (lengths: Lengths): Promise<Outage> =>
  withFolder(async (folder) => {
    await using rig = await Rig.start(20);
    const room = { writeBuffer: '1GiB', requestTimeout: TIMEOUT, maxRequests: 64 };
    const journal = { path: join(folder, 'journal'), size: '2GiB' };
    const config = await rig.create(GIB, { ...room, flush: 'local', journal });
    const device = await rig.open(config);
    const over = new AbortController();
    const loaded = load(device, over.signal);
    await delay(1000);
    rig.pause();
    await delay(lengths.outage * 1000);
    over.abort();
    rig.reset();
    rig.resume();
    // Closing stores what is in the journal.
    const took = await time(async () => {
      await loaded;
      await device[Symbol.asyncDispose]();
    });
    const { flushed, errors } = await loaded;
    const backlog = Math.ceil(rig.requests.acknowledged / MIB) * MIB;
    const again = await rig.open(config);
    const differ = await lost(again, flushed);
    await again[Symbol.asyncDispose]();
    const usual = await rig.open(await rig.create(64 * GIB, room));
    const drain = took / (await time(() => fill(usual, backlog)));
    await usual[Symbol.asyncDispose]();
    return { errors: errors + differ, drain };
  });

export const OUTAGE: readonly Row[] = [
  {
    what: 'P24 errors and lost blocks, without a store under load, journal',
    unit: 'errors',
    target: 0,
    goal: 0,
    isMost: true,
    measure: async (lengths) => (await outage(lengths)).errors,
  },
  {
    what: 'P24 time until the store has everything, of what as much takes otherwise',
    unit: '×',
    target: 1.2,
    goal: 1.2,
    isMost: true,
    measure: async (lengths) => (await outage(lengths)).drain,
  },
];
