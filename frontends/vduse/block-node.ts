import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DeviceNode, entries } from './device-node.ts';
import { busPath, type HostPaths } from './host-paths.ts';

/** The block device that virtio_blk made of an attached VDUSE device; undefined when it made none. */
export function findBlockNode(paths: HostPaths, device: string): DeviceNode | undefined {
  const bus = busPath(paths, device);
  for (const virtio of entries(bus)) {
    if (!virtio.startsWith('virtio')) continue;
    for (const name of entries(join(bus, virtio, 'block'))) return { name, path: join(paths.dev, name) };
  }
  return undefined;
}

/** Numbers of the whole disk and its partitions: `254:0`. */
export function deviceNumbers(paths: HostPaths, node: DeviceNode): Map<string, string> {
  const folder = join(paths.sys, 'block', node.name);
  const numbers = new Map<string, string>();
  for (const name of ['', ...entries(folder)]) {
    const number = attribute(join(folder, name, 'dev'));
    if (number !== undefined) numbers.set(number, name === '' ? node.name : name);
  }
  return numbers;
}

/** Of sysfs; undefined where there is none, or none any more: a disk may go at any moment. */
function attribute(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENODEV') return undefined;
    throw error;
  }
}
