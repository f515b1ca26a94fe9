import { defineBackend } from '../../core/plugin.ts';
import { checkFile } from './check.ts';
import { fileConfig } from './config.ts';
import { fileDevice, THREAD_MODULE } from './device.ts';
import { openStore } from './open-store.ts';
import { fileVolumes } from './volumes.ts';

export default defineBackend({
  name: 'file',
  description: 'A regular file, sparse, or a block device of this machine.',
  config: fileConfig,
  open: async (config, ctx) => fileDevice(await openStore(config, ctx), ctx.logger),
  threadModule: THREAD_MODULE,
  check: checkFile,
  volumes: fileVolumes,
});
