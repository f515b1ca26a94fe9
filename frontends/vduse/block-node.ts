import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GatewayError } from '../../core/api/errors.ts';
import { sleep } from '../../core/util/backoff.ts';
import { busPath, type HostPaths } from './host-paths.ts';

/** The block device that the driver made of a VDUSE device. */
export interface BlockNode {
  /** `vda`. */
  readonly name: string;
  /** `/dev/vda`. */
  readonly path: string;
}

const POLL_MS = 20;
/** The node is there when the bus has answered; only a /dev without devtmpfs takes longer. */
const NODE_TIMEOUT_MS = 10_000;

/** The block device of an attached VDUSE device; undefined when the driver made none. */
export function findBlockNode(paths: HostPaths, device: string): BlockNode | undefined {
  const bus = busPath(paths, device);
  for (const virtio of entries(bus)) {
    if (!virtio.startsWith('virtio')) continue;
    for (const name of entries(join(bus, virtio, 'block'))) return { name, path: join(paths.dev, name) };
  }
  return undefined;
}

/** As `findBlockNode`, once the device file exists. Throws `vduse.no-disk`. */
export async function waitForBlockNode(
  paths: HostPaths,
  device: string,
  signal: AbortSignal,
): Promise<BlockNode> {
  for (let waited = 0; ; waited += POLL_MS) {
    const node = findBlockNode(paths, device);
    if (node !== undefined && existsSync(node.path)) return node;
    if (waited >= NODE_TIMEOUT_MS) throw noDisk(device, node);
    await sleep(POLL_MS, signal);
  }
}

/** Numbers of the whole disk and its partitions: `254:0`. */
export function deviceNumbers(paths: HostPaths, node: BlockNode): Map<string, string> {
  const folder = join(paths.sys, 'block', node.name);
  const numbers = new Map<string, string>();
  for (const name of ['', ...entries(folder)]) {
    const file = join(folder, name, 'dev');
    if (existsSync(file)) numbers.set(readFileSync(file, 'utf8').trim(), name === '' ? node.name : name);
  }
  return numbers;
}

/** Names in a folder; none when it does not exist (any more). */
export function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

export function noDisk(device: string, node: BlockNode | undefined): GatewayError {
  const why =
    node === undefined
      ? 'The kernel accepted the device, but its driver made no disk of it.'
      : `The driver made the disk ${node.name}, but ${node.path} did not appear.`;
  return new GatewayError('vduse.no-disk', `The VDUSE device "${device}" has not become a disk.`, {
    why,
    fix: 'Look at the kernel’s log (dmesg) for messages of virtio_vdpa and virtio_blk.',
  });
}
