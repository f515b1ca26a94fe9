import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Holder } from '../../core/api/frontend.ts';
import { type DeviceNode, entries } from './device-node.ts';
import { findOpeners } from './holders.ts';
import { busPath, type HostPaths } from './host-paths.ts';

/** The device for hypervisors that vhost_vdpa made of an attached VDUSE device; undefined when it made none. */
export function findVhostNode(paths: HostPaths, device: string): DeviceNode | undefined {
  const name = entries(busPath(paths, device)).find((entry) => entry.startsWith('vhost-vdpa-'));
  return name === undefined ? undefined : { name, path: join(paths.dev, name) };
}

/** The process that has the device open: one at most, since it can be open once. */
export async function findVhostHolders(
  paths: HostPaths,
  device: string,
  node: DeviceNode,
): Promise<readonly Holder[]> {
  const file = join(busPath(paths, device), node.name, 'dev');
  if (!existsSync(file)) return [];
  return await findOpeners(paths, new Map([[readFileSync(file, 'utf8').trim(), node.name]]));
}

/** How a hypervisor is told of the device. Memory has to be shared: the gateway reads and writes it by itself. */
export function vhostUsage(path: string): readonly string[] {
  return [
    'QEMU 9.0 or later:',
    '  -object memory-backend-memfd,id=ram,size=4G,share=on -machine q35,memory-backend=ram -m 4G',
    `  -device vhost-vdpa-device-pci,vhostdev=${path}`,
    'libvirt 9.8 or later:',
    "  <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>",
    "  <disk type='vhostvdpa' device='disk'>",
    "    <driver name='qemu' type='raw'/>",
    `    <source dev='${path}'/>`,
    "    <target dev='vdb' bus='virtio'/>",
    '  </disk>',
  ];
}
