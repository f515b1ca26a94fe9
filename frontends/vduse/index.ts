import { defineFrontend } from '../../core/api/frontend.ts';
import { type VduseConfig, vduseConfig } from './config.ts';

export default defineFrontend<VduseConfig>({
  name: 'vduse',
  description:
    'A virtio disk of this machine, or of a virtual machine on it, through the kernel’s VDUSE: /dev/blockgate/<disk>.',
  config: vduseConfig,
  // Loaded when a disk needs them: checking a configuration must stay cheap.
  attach: async (volume, config, ctx) => (await import('./frontend.ts')).attachDisk(volume, config, ctx),
  attachUnprivileged: async (disk, user) =>
    (await import('./helper/helper-process.ts')).attachWithHelper(disk, user),
  warmUp: async ({ queues }, threadModule) => {
    const { loadThreads } = await import('./workers/queue-threads.ts');
    await Promise.all([
      import('./frontend.ts'),
      threadModule !== undefined && loadThreads(queues, threadModule),
    ]);
  },
  leftovers: async () => {
    const [{ findLeftovers }, { linuxHost }] = await Promise.all([
      import('./leftovers.ts'),
      import('./frontend-host.ts'),
    ]);
    return findLeftovers(linuxHost);
  },
  check: async (config) => (await import('./doctor.ts')).checkHost(config?.attach ?? 'host'),
});
