import { defineFrontend } from '../../core/api/frontend.ts';
import { type VduseConfig, vduseConfig } from './config.ts';

export default defineFrontend<VduseConfig>({
  name: 'vduse',
  description: 'A virtio disk of this machine, through the kernel’s VDUSE: /dev/blockgate/<disk>.',
  config: vduseConfig,
  // Loaded when a disk needs them: checking a configuration must stay cheap.
  attach: async (volume, config, ctx) => (await import('./frontend.ts')).attachDisk(volume, config, ctx),
  attachUnprivileged: async (disk, user) =>
    (await import('./helper/helper-process.ts')).attachWithHelper(disk, user),
  check: async () => (await import('./doctor.ts')).checkHost(),
});
