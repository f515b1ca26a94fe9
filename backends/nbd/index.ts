import { defineBackend } from '../../core/plugin.ts';
import { checkExport } from './check.ts';
import { type NbdConfig, nbdConfig } from './config.ts';
import { openExport } from './open.ts';

export default defineBackend<NbdConfig>({
  name: 'nbd',
  description: 'An export of an NBD server: nbdkit, qemu-nbd, nbd-server and others.',
  config: nbdConfig,
  open: openExport,
  check: checkExport,
});
