import { existsSync, readFileSync } from 'node:fs';
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Holder } from '../../core/api/frontend.ts';
import { deviceNumbers } from './block-node.ts';
import { type DeviceNode, entries } from './device-node.ts';
import type { HostPaths } from './host-paths.ts';

/** Who uses a disk: mounts in any mount namespace, swap, block devices on top of it, processes that have it open. */
export async function findHolders(paths: HostPaths, node: DeviceNode): Promise<Holder[]> {
  const numbers = deviceNumbers(paths, node);
  const names = new Set(numbers.values());
  const inProcesses = await scanProcesses(paths, numbers);
  return [
    ...inProcesses.mounts,
    ...(await swaps(paths, names)),
    ...stacked(paths, node, names),
    ...inProcesses.open,
  ];
}

/** Processes that have a device open. `numbers`: name of each device by its number, `254:0`. */
export async function findOpeners(
  paths: HostPaths,
  numbers: ReadonlyMap<string, string>,
): Promise<readonly Holder[]> {
  return (await scanProcesses(paths, numbers)).open;
}

interface ProcessFindings {
  readonly mounts: Holder[];
  readonly open: Holder[];
}

async function scanProcesses(
  paths: HostPaths,
  numbers: ReadonlyMap<string, string>,
): Promise<ProcessFindings> {
  const names = new Set(numbers.values());
  const mounts = new Set<string>();
  const open: Holder[] = [];
  const namespaces = new Set<string>();
  for (const pid of (await quietly(readdir(paths.proc))) ?? []) {
    if (!/^\d+$/.test(pid)) continue;
    const folder = join(paths.proc, pid);
    const namespace = await quietly(readlink(join(folder, 'ns/mnt')));
    if (namespace !== undefined && !namespaces.has(namespace)) {
      namespaces.add(namespace);
      const table = (await quietly(readFile(join(folder, 'mountinfo'), 'utf8'))) ?? '';
      for (const target of mountedOn(table, names, numbers)) mounts.add(target);
    }
    if (await hasOpen(folder, names, numbers)) {
      const command = (await quietly(readFile(join(folder, 'comm'), 'utf8')))?.trim() ?? 'unknown';
      open.push({ kind: 'process', description: `pid ${pid} (${command})` });
    }
  }
  return {
    mounts: [...mounts].map((target) => ({ kind: 'mount', description: `mounted at ${target}` })),
    open,
  };
}

/** Mount points of a mountinfo table (proc_pid_mountinfo(5)) that are on one of the devices. */
export function mountedOn(
  table: string,
  names: ReadonlySet<string>,
  numbers: ReadonlyMap<string, string>,
): string[] {
  const targets: string[] = [];
  for (const line of table.split('\n')) {
    const fields = line.split(' ');
    const separator = fields.indexOf('-');
    if (separator < 0) continue;
    // btrfs gives its mounts a device number of their own: there the source tells.
    const source = fields[separator + 2] ?? '';
    if (numbers.has(fields[2] ?? '') || names.has(source.replace(/^\/dev\//, '')))
      targets.push(decodeOctal(fields[4] ?? ''));
  }
  return targets;
}

/** The kernel writes space, tab, newline and backslash in octal. */
function decodeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

async function hasOpen(
  folder: string,
  names: ReadonlySet<string>,
  numbers: ReadonlyMap<string, string>,
): Promise<boolean> {
  for (const fd of (await quietly(readdir(join(folder, 'fd')))) ?? []) {
    const path = join(folder, 'fd', fd);
    const target = await quietly(readlink(path));
    if (target === undefined || !names.has(target.slice(target.lastIndexOf('/') + 1))) continue;
    // A name is not a device: ask which one it is. This does not open it.
    const { rdev = 0 } = (await quietly(stat(path))) ?? {};
    if (numbers.has(`${major(rdev)}:${minor(rdev)}`)) return true;
  }
  return false;
}

/** Layout of dev_t: 12 bits of major number from bit 8 on, 20 bits of minor around them. */
const major = (rdev: number): number => (rdev >> 8) & 0xfff;
const minor = (rdev: number): number => (rdev & 0xff) | (Math.floor(rdev / 2 ** 12) & 0xfff00);

async function swaps(paths: HostPaths, names: ReadonlySet<string>): Promise<Holder[]> {
  const table = (await quietly(readFile(join(paths.proc, 'swaps'), 'utf8'))) ?? '';
  return table
    .split('\n')
    .map((line) => line.split(/\s/)[0]!)
    .filter((path) => path.startsWith('/dev/') && names.has(path.slice('/dev/'.length)))
    .map((path) => ({ kind: 'swap', description: `swap space on ${path}` }));
}

/** Device mapper, RAID and bcache are linked from `holders`; loop devices name their file instead. */
function stacked(paths: HostPaths, node: DeviceNode, names: ReadonlySet<string>): Holder[] {
  const folder = join(paths.sys, 'block', node.name);
  const linked = [...names].flatMap((name) =>
    entries(join(name === node.name ? folder : join(folder, name), 'holders')),
  );
  const loops = entries(join(paths.sys, 'block')).filter((name) =>
    names.has(loopFile(paths, name).replace(/^\/dev\//, '')),
  );
  return [...new Set([...linked, ...loops])].map((name) => ({
    kind: 'block-device',
    description: `block device ${name} is built on it`,
  }));
}

function loopFile(paths: HostPaths, name: string): string {
  const file = join(paths.sys, 'block', name, 'loop/backing_file');
  return name.startsWith('loop') && existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
}

/** Processes end while one looks at them: that is no error. */
async function quietly<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch {
    return undefined;
  }
}
