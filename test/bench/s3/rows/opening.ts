import { setTimeout as delay } from 'node:timers/promises';
import type { BlockDevice } from '../../../../core/plugin.ts';
import { BLOCK, type Row, someBlock, TIB, time } from '../measure.ts';
import { Rig } from '../rig.ts';

/** Of a disk of 1 TiB on which `objects` objects were written, without a clean end. No checkpoint: of the empty disk only. */
const takeover =
  (objects: number, how: { readonly clean?: true; readonly checkpoints?: false } = {}) =>
  async () => {
    await using rig = await Rig.start(20);
    const config = await rig.create(TIB, { maxRequests: 64 });
    const first = await rig.open(config);
    rig.refusesCheckpoints = how.checkpoints === false;
    const iov = [new Uint8Array(BLOCK).fill(1)];
    for (let done = 0; done < objects; done += 6) {
      await Promise.all(
        Array.from({ length: 6 }, async (_, i) => {
          await delay(i * 4);
          await first.write!(someBlock(TIB), iov, 0);
          await first.flush!(0);
        }),
      );
    }
    if (how.clean) await first[Symbol.asyncDispose]();
    let second: BlockDevice;
    const took = await time(async () => {
      second = await rig.open(config, true);
      await second.read(0, [new Uint8Array(BLOCK)], 0);
    });
    await second![Symbol.asyncDispose]();
    if (!how.clean) await first[Symbol.asyncDispose]();
    return took;
  };

export const OPENING: readonly Row[] = [
  {
    what: 'P19 attach after a clean end, 1 TiB, 20 ms',
    unit: 'ms',
    target: 400,
    goal: 100,
    isMost: true,
    measure: takeover(6, { clean: true }),
  },
  {
    what: 'P20 recovery, 500 objects since the checkpoint, 20 ms',
    unit: 'ms',
    target: 1000,
    goal: 350,
    isMost: true,
    measure: takeover(500, { checkpoints: false }),
  },
  {
    what: 'P21 takeover from a living gateway, 20 ms',
    unit: 'ms',
    target: 1000,
    goal: 300,
    isMost: true,
    measure: takeover(12),
  },
];
