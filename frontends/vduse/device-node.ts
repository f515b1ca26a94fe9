import { existsSync, readdirSync } from 'node:fs';
import { GatewayError } from '../../core/api/errors.ts';
import { sleep } from '../../core/util/backoff.ts';

/** The device file by which a disk is used. */
export interface DeviceNode {
  /** `vda`, `vhost-vdpa-0`. */
  readonly name: string;
  /** `/dev/vda`. */
  readonly path: string;
}

const POLL_MS = 20;
/** The node is there when the bus has answered; only a /dev without devtmpfs takes longer. */
const NODE_TIMEOUT_MS = 10_000;

/** What `find` finds, once the device file exists. Throws `vduse.no-disk`. */
export async function waitForNode(
  find: () => DeviceNode | undefined,
  device: string,
  signal: AbortSignal,
): Promise<DeviceNode> {
  for (let waited = 0; ; waited += POLL_MS) {
    const node = find();
    if (node !== undefined && existsSync(node.path)) return node;
    if (waited >= NODE_TIMEOUT_MS) throw noDisk(device, node);
    await sleep(POLL_MS, signal);
  }
}

/** Names in a folder; none when it does not exist (any more). */
export function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

export function noDisk(device: string, node: DeviceNode | undefined): GatewayError {
  const why =
    node === undefined
      ? 'The kernel accepted the device, but its driver made no disk of it.'
      : `The driver made the disk ${node.name}, but ${node.path} did not appear.`;
  return new GatewayError('vduse.no-disk', `The VDUSE device "${device}" has not become a disk.`, {
    why,
    fix: 'Look at the kernel’s log (dmesg) for messages of virtio_vdpa, virtio_blk and vhost_vdpa.',
  });
}
