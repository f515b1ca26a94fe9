import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { GatewayError } from '../../core/api/errors.ts';
import { type HostPaths, hostPaths } from './host-paths.ts';

/** What a disk needs besides the driver of the bus by which it is used. Nothing loads either by itself. */
export const VDUSE_MODULE = 'vduse';

const MODPROBE_TIMEOUT_MS = 30_000;
/** For a user whose PATH lacks them. */
const SYSTEM_PATH = '/usr/sbin:/sbin:/usr/bin:/bin';

export const moduleLoaded = (paths: HostPaths, name: string): boolean =>
  existsSync(join(paths.sys, 'module', name));

/** Loads what is missing for `driver`, with modprobe. Throws `vduse.module-missing`. */
export async function loadModules(driver: string, paths: HostPaths = hostPaths): Promise<void> {
  for (const name of [VDUSE_MODULE, driver]) {
    if (!moduleLoaded(paths, name)) await modprobe(name);
  }
}

function modprobe(name: string): Promise<void> {
  const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:${SYSTEM_PATH}` };
  return new Promise((resolve, reject) => {
    execFile('modprobe', [name], { env, timeout: MODPROBE_TIMEOUT_MS }, (error, _out, stderr) => {
      if (error) reject(moduleMissing(name, stderr.trim() || error.message, error));
      else resolve();
    });
  });
}

function moduleMissing(name: string, output: string, cause: Error): GatewayError {
  return new GatewayError('vduse.module-missing', `The kernel module ${name} cannot be loaded.`, {
    why: output,
    fix:
      `Run "modprobe ${name}" as root. This kernel is ${release()}; the module comes with kernels built with ` +
      'CONFIG_VDPA_USER=m, CONFIG_VIRTIO_VDPA=m and CONFIG_VHOST_VDPA=m, those of Debian 12 and later among them.',
    cause,
  });
}
