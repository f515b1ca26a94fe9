import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { GatewayError } from '../api/errors.ts';
import { cachedFile, contentKey, vmCacheFolder } from './cache-folder.ts';
import { type CpioEntry, writeCpio } from './cpio.ts';
import type { KernelImage } from './kernel-image.ts';

/** Statically linked, from Debian's busybox-static: the initramfs has no libraries. */
export const BUSYBOX = '/bin/busybox';

/** What the guest needs before it can load modules from the shared root: the overlay, the network, scratch disks. */
const MODULES = ['overlay', 'virtio_net', 'virtio_blk'];

/** The initramfs for this kernel, from the cache or built. Returns its path. */
export async function ensureInitramfs(kernel: KernelImage): Promise<string> {
  const folder = join(kernel.modules, kernel.release);
  const files = modulesWithDependencies(MODULES, await readFile(join(folder, 'modules.dep'), 'utf8'));
  const [busybox, init, agent, ...modules] = await Promise.all([
    readFile(BUSYBOX),
    readFile(new URL('guest-init.sh', import.meta.url)),
    readFile(new URL('guest-agent.sh', import.meta.url)),
    ...files.map((file) => readFile(join(folder, file))),
  ]);
  const key = contentKey([busybox, init, agent, ...files, ...modules]);
  return await cachedFile(join(vmCacheFolder(), `initramfs-${key}.cpio`), async () => {
    const unpacked = await Promise.all(modules.map((module, index) => unpackModule(files[index]!, module)));
    const names = files.map((file) => basename(file).replace(/\.ko.*$/, '.ko'));
    const entries: CpioEntry[] = [
      ...['bin', 'dev', 'lower', 'modules', 'proc', 'root', 'upper'].map(
        (path): CpioEntry => ({ path, kind: 'folder' }),
      ),
      // The kernel opens it for PID 1 before anything is mounted.
      { path: 'dev/console', kind: 'char-device', major: 5, minor: 1 },
      { path: 'bin/busybox', kind: 'file', content: busybox, mode: 0o755 },
      { path: 'init', kind: 'file', content: init, mode: 0o755 },
      { path: 'guest-agent.sh', kind: 'file', content: agent },
      { path: 'modules/order', kind: 'file', content: Buffer.from(`${names.join('\n')}\n`) },
      ...unpacked.map(
        (content, index): CpioEntry => ({ path: `modules/${names[index]}`, kind: 'file', content }),
      ),
    ];
    return writeCpio(entries);
  });
}

/**
 * Paths of these modules and of all they need, in loading order, from the text of a modules.dep
 * (`path: dependency dependency…`, last dependency to be loaded first). Built-in modules have no line and no path.
 */
export function modulesWithDependencies(names: readonly string[], modulesDep: string): string[] {
  const order = new Set<string>();
  const lines = modulesDep.split('\n').filter((line) => line.includes(':'));
  for (const name of names) {
    const line = lines.find((candidate) => moduleName(candidate.slice(0, candidate.indexOf(':'))) === name);
    if (!line) continue;
    const colon = line.indexOf(':');
    const dependencies = line
      .slice(colon + 1)
      .split(' ')
      .filter(Boolean);
    for (const file of dependencies.reverse()) order.add(file);
    order.add(line.slice(0, colon));
  }
  return [...order];
}

/** Dashes and underscores are the same in module names. */
function moduleName(path: string): string {
  return basename(path)
    .replace(/\.ko.*$/, '')
    .replaceAll('-', '_');
}

/** Module files come compressed; the guest would unpack them far slower than the host does. */
async function unpackModule(file: string, content: Uint8Array): Promise<Uint8Array> {
  if (file.endsWith('.ko')) return content;
  const applet = file.endsWith('.xz') ? 'unxz' : file.endsWith('.gz') ? 'gunzip' : undefined;
  if (!applet) throw new GatewayError('vm.no-kernel', `Cannot unpack kernel module ${file}.`);
  const child = spawn(BUSYBOX, [applet, '-c'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stdin.end(content);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  if (code !== 0)
    throw new GatewayError('vm.no-kernel', `Cannot unpack kernel module ${file}: ${applet} failed.`);
  return Buffer.concat(chunks);
}
