import { describe, expect, it } from 'vitest';
import { qemuCommand, type VmHardware } from '../../../core/vm/qemu.ts';

const HARDWARE: VmHardware = {
  kernel: { release: '6.12.1+deb12-cloud-amd64', image: '/cache/vmlinux', modules: '/lib/modules' },
  initramfs: '/cache/initramfs.cpio',
  cpus: 2,
  memoryMiB: 1024,
  shares: [{ tag: 'root', socket: '/tmp/vm/root.sock' }],
  controlSocket: '/tmp/vm/control',
  consoleLog: '/tmp/vm/console.log',
  disks: [],
  terminal: false,
};

describe('qemuCommand', () => {
  it('numbers scratch disks in their order', () => {
    const devices = qemuCommand({ ...HARDWARE, disks: ['/tmp/a.img', '/tmp/b.img'] }).filter((word) =>
      word.startsWith('virtio-blk'),
    );
    expect(devices).toEqual([
      'virtio-blk-pci,drive=scratch0,serial=scratch0',
      'virtio-blk-pci,drive=scratch1,serial=scratch1',
    ]);
  });

  it('keeps a comma in a path from ending the option', () => {
    expect(qemuCommand({ ...HARDWARE, consoleLog: '/tmp/a,b/log' })).toContain(
      'file,id=console,path=/tmp/a,,b/log',
    );
  });

  it('takes the terminal only when asked to', () => {
    const usesStdio = (command: readonly string[]): boolean =>
      command.some((word) => word.startsWith('stdio'));
    expect(usesStdio(qemuCommand(HARDWARE))).toBe(false);
    expect(usesStdio(qemuCommand({ ...HARDWARE, terminal: true }))).toBe(true);
  });
});
