import { defineBackend, type PluginContext } from '../../core/plugin.ts';
import { type S3Config, s3Config } from './config.ts';
import type { Operation } from './operation.ts';

/** The SDK and all that stands on it are loaded when a disk needs them: listing plugins must stay cheap. */
async function connect(config: S3Config, ctx: PluginContext) {
  const { LeanStore } = await import('./store/lean-store.ts');
  return LeanStore.connect(config, ctx.baseDir);
}

export default defineBackend<S3Config>({
  name: 's3',
  description: 'A volume in a bucket of any S3-compatible store.',
  config: s3Config,
  async open(config, ctx) {
    const { openVolume } = await import('./open.ts');
    return openVolume(await connect(config, ctx), config, ctx);
  },
  warmUp: () => Promise.all([import('./store/lean-store.ts'), import('./open.ts')]),
  async check(config, ctx) {
    const { checkStore } = await import('./check.ts');
    return checkStore((await connect(config, ctx)).sdk, config, ctx);
  },
  volumes: {
    create: (config, ctx) => onVolume(config, ctx, (operation, { createVolume }) => createVolume(operation)),
    info: (config, ctx) => onVolume(config, ctx, (operation, { volumeInfo }) => volumeInfo(operation)),
    list: (config, ctx) => onVolume(config, ctx, (operation, { listVolumes }) => listVolumes(operation)),
    resize: (config, size, ctx) =>
      onVolume(config, ctx, (operation, { resizeVolume }) => resizeVolume(operation, size)),
    rekey: (config, encryption, ctx) =>
      onVolume(config, ctx, (operation, { rekeyVolume }) => rekeyVolume(operation, encryption)),
    delete: (config, options, ctx) =>
      onVolume(config, ctx, (operation, { deleteVolume }) => deleteVolume(operation, options)),
    qualify: async (config, ctx) => {
      await refuseImage(config, 'used to try the store');
      const { qualifyStore } = await import('./qualify/qualify.ts');
      return qualifyStore(await connect(config, ctx), config, ctx);
    },
    check: (config, options, ctx) =>
      onLog(config, ctx, 'can be checked', async (operation) => {
        const { checkVolume } = await import('./log/check/check-volume.ts');
        return await checkVolume(operation, options);
      }),
    snapshots: {
      create: (config, name, ctx, moment) =>
        onSnapshots(config, ctx, (operation, { createSnapshot }) => createSnapshot(operation, name, moment)),
      list: (config, ctx) =>
        onSnapshots(config, ctx, (operation, { listSnapshots }) => listSnapshots(operation)),
      delete: (config, name, ctx) =>
        onSnapshots(config, ctx, (operation, { deleteSnapshot }) => deleteSnapshot(operation, name)),
      rollback: (config, to, ctx) =>
        onSnapshots(config, ctx, (operation, { rollbackVolume }) => rollbackVolume(operation, to)),
      points: (config, ctx) =>
        onLog(config, ctx, 'have points', async (operation) => {
          const { listPoints } = await import('./log/volume/volume-points.ts');
          return await listPoints(operation);
        }),
      flatten: (config, progress, ctx) =>
        onLog(config, ctx, 'have clones', async (operation) => {
          const { flattenVolume } = await import('./log/volume/flatten.ts');
          return await flattenVolume(operation, progress);
        }),
      changes: (config, snapshots, take, ctx) =>
        onLog(config, ctx, 'have snapshots', async (operation) => {
          const { listChanges } = await import('./log/volume/changed-blocks.ts');
          await listChanges(operation, snapshots, take);
        }),
      clone: async (config, from, target, ctx) => {
        await refuseImage(target, 'made a clone');
        return onSnapshots(config, ctx, (operation, { cloneVolume }) => cloneVolume(operation, from, target));
      },
    },
  },
});

async function onVolume<T>(
  config: S3Config,
  ctx: PluginContext,
  run: (operation: Operation, volumes: typeof import('./volumes.ts')) => Promise<T>,
): Promise<T> {
  const [volumes, { withStore }] = await Promise.all([import('./volumes.ts'), import('./operation.ts')]);
  return withStore(await connect(config, ctx), config, ctx, (operation) => run(operation, volumes));
}

async function refuseImage(config: S3Config, what: string): Promise<void> {
  const image = await import('./image/operations.ts');
  image.refuseImage(config, what);
}

/** On a volume with the layout "log". */
function onLog<T>(
  config: S3Config,
  ctx: PluginContext,
  what: string,
  run: (operation: Operation) => Promise<T>,
): Promise<T> {
  return onVolume(config, ctx, async (operation) => {
    const { requireLog } = await import('./volumes.ts');
    await requireLog(operation, what);
    return await run(operation);
  });
}

function onSnapshots<T>(
  config: S3Config,
  ctx: PluginContext,
  run: (operation: Operation, snapshots: typeof import('./log/volume/snapshot-operations.ts')) => Promise<T>,
): Promise<T> {
  return onLog(config, ctx, 'have snapshots', async (operation) =>
    run(operation, await import('./log/volume/snapshot-operations.ts')),
  );
}
