import { nbdConfig } from '../../backends/nbd/config.ts';
import nbd from '../../backends/nbd/index.ts';
import type { BlockDevice } from '../../core/api/device.ts';
import { openContext } from './plugin-context.ts';
import { type NbdScript, ScriptedNbdServer } from './scripted-nbd-server.ts';
import { tempFolder } from './temp-folder.ts';

/** The nbd backend on the export of a scripted server. Everything ends with `owned`. */
export async function openScriptedDisk(owned: AsyncDisposableStack, script: NbdScript, options: object = {}) {
  const folder = owned.use(tempFolder());
  const path = folder.file('socket');
  const server = owned.use(await ScriptedNbdServer.start(path, script));
  const ctx = openContext(folder.path);
  const config = nbdConfig.parse({ uri: `nbd+unix:///?socket=${path}`, ...options });
  const device: BlockDevice = owned.use(await nbd.open(config, ctx));
  return { device, server, ctx };
}
