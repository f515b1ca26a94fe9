import { defineBackend, type PluginContext } from '../../core/plugin.ts';
import { type S3Config, s3Config } from './config.ts';

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
    async create(config, ctx) {
      const { createVolume } = await import('./volumes.ts');
      const { withStore } = await import('./operation.ts');
      return withStore(await connect(config, ctx), config, ctx, createVolume);
    },
    async info(config, ctx) {
      const { volumeInfo } = await import('./volumes.ts');
      const { withStore } = await import('./operation.ts');
      return withStore(await connect(config, ctx), config, ctx, volumeInfo);
    },
    async list(config, ctx) {
      const { listVolumes } = await import('./volumes.ts');
      const { withStore } = await import('./operation.ts');
      return withStore(await connect(config, ctx), config, ctx, listVolumes);
    },
    async resize(config, size, ctx) {
      const { resizeVolume } = await import('./volumes.ts');
      const { withStore } = await import('./operation.ts');
      return withStore(await connect(config, ctx), config, ctx, (operation) => resizeVolume(operation, size));
    },
    async delete(config, options, ctx) {
      const { deleteVolume } = await import('./volumes.ts');
      const { withStore } = await import('./operation.ts');
      return withStore(await connect(config, ctx), config, ctx, (operation) =>
        deleteVolume(operation, options),
      );
    },
  },
});
