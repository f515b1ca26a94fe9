import type { S3Config } from '../../../../backends/s3/config.ts';
import { readHead } from '../../../../backends/s3/log/head.ts';
import { StoredMap } from '../../../../backends/s3/log/map/stored-map.ts';
import { LogNames } from '../../../../backends/s3/log/names.ts';
import { cloneVolume, createSnapshot } from '../../../../backends/s3/log/volume/snapshot-operations.ts';
import { changeHead, resizeVolume } from '../../../../backends/s3/log/volume/volumes.ts';
import { openVolume } from '../../../../backends/s3/open.ts';
import { withStore } from '../../../../backends/s3/operation.ts';
import { context } from '../../../backends/s3/harness.ts';
import { summarize } from '../../statistics.ts';
import { GIB, type Row, TIB } from '../measure.ts';
import { Rig } from '../rig.ts';

/** Of one object of the log: 8 MiB. */
const BLOCKS = 2048;
/** Objects between two checkpoints. */
const EVERY = 4096;
const LATENCY = 20;
const REPEATS = 5;

/** A volume all of which is in use, as if it had been written from its beginning to its end, without its data. */
async function written(rig: Rig, size: number): Promise<S3Config> {
  const config = await rig.create(size);
  const names = new LogNames(config.prefix);
  await withStore(await rig.connect(config), config, context(), async ({ store }) => {
    const stored = await StoredMap.open({ store, names, key: undefined }, null, 64);
    const objects = size / (BLOCKS * 4096);
    let number = 0;
    for (let seq = 1; seq <= objects; seq++) {
      const object = stored.table.addStored(names, { epoch: 1, seq }, BLOCKS, BLOCKS * 4096);
      stored.map.set((seq - 1) * BLOCKS, BLOCKS, object.id, 0);
      if (seq % EVERY !== 0 && seq !== objects) continue;
      const at = { epoch: 1, seq };
      const cut = stored.cut({
        epoch: 1,
        number: ++number,
        at,
        removed: [],
        isDurable: () => true,
        pinned: new Set(),
      });
      const checkpoint = { key: names.checkpoint(1, number), root: cut.rootBytes, at, hash: '0'.repeat(64) };
      await store.put(checkpoint.key, cut.body);
      const head = (await readHead(store, names))!;
      await changeHead(store, names, head, { checkpoint });
      cut.done();
    }
  });
  return config;
}

type Operate = (rig: Rig, config: S3Config, repeat: number) => Promise<unknown>;

const OPERATIONS: Readonly<Record<string, Operate>> = {
  attach: async (rig, config) => {
    const device = await openVolume(await rig.connect(config), config, context());
    await device.extents!(config.size! - GIB, 2 ** 20);
    await device[Symbol.asyncDispose]();
  },
  snapshot: async (rig, config, repeat) =>
    withStore(await rig.connect(config), config, context(), (operation) =>
      createSnapshot(operation, `s${repeat}`),
    ),
  clone: async (rig, config, repeat) => {
    const target = { ...config, prefix: `${config.prefix}-clone${repeat}` };
    return withStore(await rig.connect(config), config, context(), (operation) =>
      cloneVolume(operation, 's0', target),
    );
  },
  resize: async (rig, config, repeat) =>
    withStore(await rig.connect(config), config, context(), (operation) =>
      resizeVolume(operation, config.size! + (repeat + 1) * GIB),
    ),
};

/** How many times longer an operation takes on a volume of 1 TiB than on one of 1 GiB; both are in use to their ends. */
const sizeRatio = (name: keyof typeof OPERATIONS) => async (): Promise<number> => {
  await using rig = await Rig.start(LATENCY);
  const [small, large] = [await written(rig, GIB), await written(rig, TIB)];
  const prepare = OPERATIONS['snapshot']!;
  if (name === 'clone') for (const config of [small, large]) await prepare(rig, config, 0);
  const took = { small: [] as number[], large: [] as number[] };
  for (let repeat = 0; repeat < REPEATS; repeat++)
    for (const [size, config] of [
      ['small', small],
      ['large', large],
    ] as const) {
      const start = performance.now();
      await OPERATIONS[name]!(rig, config, repeat);
      took[size].push(performance.now() - start);
    }
  return summarize(took.large).median / summarize(took.small).median;
};

export const SIZES: readonly Row[] = ['attach', 'snapshot', 'clone', 'resize'].map((name) => ({
  what: `${name} of 1 TiB in use, times that of 1 GiB, 20 ms`,
  unit: 'times',
  target: 1.2,
  goal: 1,
  isMost: true,
  measure: sizeRatio(name),
}));
