import { defineFrontend } from '../../core/api/frontend.ts';
import { type VduseConfig, vduseConfig } from './config.ts';
import { checkHost } from './doctor.ts';
import { attachDisk } from './frontend.ts';

export default defineFrontend<VduseConfig>({
  name: 'vduse',
  description: 'A virtio disk of this machine, through the kernel’s VDUSE: /dev/blockgate/<disk>.',
  config: vduseConfig,
  attach: (volume, config, ctx) => attachDisk(volume, config, ctx),
  check: async () => checkHost(),
});
