import { describe, expect, it } from 'vitest';
import { modulesWithDependencies } from '../../../core/vm/initramfs.ts';

const MODULES_DEP = `
kernel/fs/overlayfs/overlay.ko.xz:
kernel/net/core/failover.ko.xz:
kernel/drivers/net/net_failover.ko.xz: kernel/net/core/failover.ko.xz
kernel/drivers/net/virtio_net.ko.xz: kernel/drivers/net/net_failover.ko.xz kernel/net/core/failover.ko.xz
kernel/drivers/block/virtio-blk.ko.xz:
`;

describe('modulesWithDependencies', () => {
  it('loads what a module needs before the module', () => {
    expect(modulesWithDependencies(['virtio_net'], MODULES_DEP)).toEqual([
      'kernel/net/core/failover.ko.xz',
      'kernel/drivers/net/net_failover.ko.xz',
      'kernel/drivers/net/virtio_net.ko.xz',
    ]);
  });

  it('finds a module by either spelling and lists nothing twice', () => {
    expect(modulesWithDependencies(['virtio_blk', 'virtio_blk', 'overlay'], MODULES_DEP)).toEqual([
      'kernel/drivers/block/virtio-blk.ko.xz',
      'kernel/fs/overlayfs/overlay.ko.xz',
    ]);
  });

  it('skips what is built into the kernel', () => {
    expect(modulesWithDependencies(['virtiofs'], MODULES_DEP)).toEqual([]);
  });
});
