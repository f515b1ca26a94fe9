import { spawn } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FrontendPlugin, ProcessUser } from '../../../core/api/frontend.ts';
import type { VduseConfig } from '../config.ts';
import { attachDisk } from '../frontend.ts';
import { linuxHost } from '../frontend-host.ts';
import { HelperClient } from './helper-client.ts';

const main = fileURLToPath(new URL(`./helper-main${extname(import.meta.url)}`, import.meta.url));

/** Starts the helper of a disk while this process is root still; the `attach` that it returns needs to be nobody. */
export function attachWithHelper(disk: string, user: ProcessUser): FrontendPlugin<VduseConfig>['attach'] {
  const child = spawn(process.execPath, [main, disk, String(user.uid), String(user.gid)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  // One that cannot be started has nothing to say: the first call finds that out.
  child.once('error', () => {});
  const admin = new HelperClient(child.stdout, child.stdin);
  return (volume, config, ctx) => attachDisk(volume, config, ctx, { ...linuxHost, administer: () => admin });
}
