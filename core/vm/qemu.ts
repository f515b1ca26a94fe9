import type { KernelImage } from './kernel-image.ts';

/** What one VM consists of, for QEMU's command line. */
export interface VmHardware {
  readonly kernel: KernelImage;
  readonly initramfs: string;
  readonly cpus: number;
  readonly memoryMiB: number;
  /** vhost-user sockets of the shared folders, with the tags the guest mounts them by. */
  readonly shares: readonly { readonly tag: string; readonly socket: string }[];
  /** The socket on which the guest's agent is reached; QEMU connects to it. */
  readonly controlSocket: string;
  /** The file that receives what the guest prints on its serial console. */
  readonly consoleLog: string;
  /** Image files, raw; in the guest /dev/vda, /dev/vdb… in this order. */
  readonly disks: readonly string[];
  /** Gives the guest a terminal, /dev/hvc0, on QEMU's own stdin and stdout. */
  readonly terminal: boolean;
}

/** The kernel's command line. Everything on it but the last two saves time under emulation or ends a VM that broke. */
function kernelCommandLine(hardware: VmHardware): string {
  return [
    'console=ttyS0 quiet',
    'panic=-1 oops=panic reboot=t',
    'nokaslr mitigations=off tsc=reliable random.trust_cpu=on rcupdate.rcu_expedited=1',
    'vm.net=user',
    `vm.modules=${hardware.kernel.modules}`,
  ].join(' ');
}

/** QEMU's command line. Emulation (TCG), since hardware virtualisation is often absent or broken inside of VMs. */
export function qemuCommand(hardware: VmHardware): string[] {
  const { kernel, cpus, memoryMiB } = hardware;
  const argv = ['qemu-system-x86_64', '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'];
  argv.push(
    '-machine',
    'q35',
    '-accel',
    'tcg,thread=multi',
    '-cpu',
    'max',
    '-smp',
    `${cpus}`,
    '-m',
    `${memoryMiB}M`,
  );
  // Shared memory, since virtiofsd reads and writes the guest's buffers by itself.
  argv.push('-object', `memory-backend-memfd,id=ram,size=${memoryMiB}M,share=on`, '-numa', 'node,memdev=ram');
  argv.push('-kernel', kernel.image, '-initrd', hardware.initramfs, '-append', kernelCommandLine(hardware));
  argv.push('-chardev', `file,id=console,path=${hardware.consoleLog}`, '-serial', 'chardev:console');

  argv.push('-device', 'virtio-serial-pci');
  argv.push('-chardev', `socket,id=control,path=${hardware.controlSocket}`);
  argv.push('-device', 'virtserialport,chardev=control,name=blockgate.control');
  if (hardware.terminal) {
    argv.push('-chardev', 'stdio,id=terminal,signal=off', '-device', 'virtconsole,chardev=terminal');
  }
  for (const { tag, socket } of hardware.shares) {
    argv.push('-chardev', `socket,id=${tag},path=${socket}`);
    argv.push('-device', `vhost-user-fs-pci,chardev=${tag},tag=${tag},queue-size=1024`);
  }
  // The guest reaches servers on the host's loopback at 10.0.2.2; nothing reaches the guest.
  argv.push('-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net,romfile=');
  hardware.disks.forEach((path, index) => {
    // Scratch by definition: nobody reads it after the VM, so flushes need not reach the host's disk.
    const drive = `file=${path},if=none,id=scratch${index},format=raw,cache=unsafe,discard=unmap`;
    argv.push('-drive', drive, '-device', `virtio-blk-pci,drive=scratch${index},serial=scratch${index}`);
  });
  return argv;
}
