import type { Holder } from '../../core/api/frontend.ts';
import { findBlockNode } from './block-node.ts';
import type { VduseConfig } from './config.ts';
import type { DeviceNode } from './device-node.ts';
import { findHolders } from './holders.ts';
import type { HostPaths } from './host-paths.ts';
import { findVhostHolders, findVhostNode, vhostUsage } from './vhost-node.ts';

/** One of the drivers of the vDPA bus, by which a device can be used: what it makes of one, and who uses that. */
export interface Outlet {
  /** Name of the module and of the driver in it. */
  readonly driver: string;
  find(paths: HostPaths, device: string): DeviceNode | undefined;
  holders(paths: HostPaths, device: string, node: DeviceNode): Promise<readonly Holder[]>;
  /** How to use the disk, where that takes more than its path. */
  usage(path: string): readonly string[];
}

export type Attachment = VduseConfig['attach'];

export const OUTLETS: Readonly<Record<Attachment, Outlet>> = {
  host: {
    driver: 'virtio_vdpa',
    find: findBlockNode,
    holders: (paths, _device, node) => findHolders(paths, node),
    usage: () => [],
  },
  vm: { driver: 'vhost_vdpa', find: findVhostNode, holders: findVhostHolders, usage: vhostUsage },
};

/** What one of the drivers made of an attached device; undefined when none made anything. */
export function findNode(paths: HostPaths, device: string): DeviceNode | undefined {
  return OUTLETS.host.find(paths, device) ?? OUTLETS.vm.find(paths, device);
}

/** Who uses a device, whichever driver has it. */
export async function findUsers(paths: HostPaths, device: string): Promise<readonly Holder[]> {
  for (const outlet of Object.values(OUTLETS)) {
    const node = outlet.find(paths, device);
    if (node !== undefined) return outlet.holders(paths, device, node);
  }
  return [];
}
