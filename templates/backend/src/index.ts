import { defineBackend } from 'blockgate/plugin';
import { type Config, config } from './config.ts';
import { openDevice } from './device.ts';

export default defineBackend<Config>({
  name: '__NAME__',
  description: 'Keeps a disk in a file of its own.',
  config,
  open: openDevice,
});
