import { defineFrontend } from '../../core/api/frontend.ts';
import { type NbdServerConfig, nbdServerConfig } from './config.ts';

export default defineFrontend<NbdServerConfig>({
  name: 'nbd',
  description:
    'An export of an NBD server, over a Unix socket or TCP: for qemu, nbdcopy, nbd-client and others.',
  config: nbdServerConfig,
  attach: async (volume, config, ctx) => (await import('./frontend.ts')).serveExport(volume, config, ctx),
  warmUp: () => import('./frontend.ts'),
});
