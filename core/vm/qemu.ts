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

/** A QEMU option and its value. */
type Option = readonly [name: string, value: string];

/** QEMU's command line. Emulation (TCG), since hardware virtualisation is often absent or broken inside of a VM. */
export function qemuCommand(hardware: VmHardware): string[] {
  const options: Option[] = [
    ['machine', 'q35'],
    ['accel', 'tcg,thread=multi'],
    // Each of the two costs emulation more than it gives: a fifth level of page tables, and protection keys, which V8
    // toggles around every write of machine code and which flush the emulated TLB.
    ['cpu', 'max,la57=off,pku=off'],
    ['smp', `${hardware.cpus}`],
    ['m', `${hardware.memoryMiB}M`],
    // Shared memory, since virtiofsd reads and writes the guest's buffers by itself.
    ['object', `memory-backend-memfd,id=ram,size=${hardware.memoryMiB}M,share=on`],
    ['numa', 'node,memdev=ram'],
    ['kernel', hardware.kernel.image],
    ['initrd', hardware.initramfs],
    ['append', kernelCommandLine(hardware.kernel)],
    ['chardev', `file,id=console,path=${escaped(hardware.consoleLog)}`],
    ['serial', 'chardev:console'],
    ['device', 'virtio-serial-pci'],
    ['chardev', `socket,id=control,path=${escaped(hardware.controlSocket)}`],
    ['device', 'virtserialport,chardev=control,name=blockgate.control'],
    // The guest reaches servers on the host's loopback at 10.0.2.2; nothing reaches the guest.
    ['netdev', 'user,id=net'],
    ['device', 'virtio-net-pci,netdev=net,romfile='],
    ...hardware.shares.flatMap(shareOptions),
    ...hardware.disks.flatMap(diskOptions),
  ];
  if (hardware.terminal) {
    options.push(['chardev', 'stdio,id=terminal,signal=off'], ['device', 'virtconsole,chardev=terminal']);
  }
  const bare = ['qemu-system-x86_64', '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'];
  return [...bare, ...options.flatMap(([name, value]) => [`-${name}`, value])];
}

function kernelCommandLine(kernel: KernelImage): string {
  return [
    'console=ttyS0 quiet',
    // A guest that broke ends at once (with -no-reboot QEMU exits) instead of running into a timeout.
    'panic=-1 oops=panic reboot=t',
    // What protects or measures a real machine only costs time under emulation.
    'nokaslr mitigations=off tsc=reliable random.trust_cpu=on rcupdate.rcu_expedited=1',
    // For guest-init.sh.
    `vm.modules=${kernel.modules}`,
  ].join(' ');
}

function shareOptions({ tag, socket }: VmHardware['shares'][number]): Option[] {
  return [
    ['chardev', `socket,id=${tag},path=${escaped(socket)}`],
    ['device', `vhost-user-fs-pci,chardev=${tag},tag=${tag},queue-size=1024`],
  ];
}

/** Nobody reads a scratch disk after the VM, so flushes need not reach the disk of the host. */
function diskOptions(path: string, index: number): Option[] {
  const id = `scratch${index}`;
  return [
    ['drive', `file=${escaped(path)},if=none,id=${id},format=raw,cache=unsafe,discard=unmap`],
    ['device', `virtio-blk-pci,drive=${id},serial=${id}`],
  ];
}

/** A comma ends a value for QEMU, two are one. */
function escaped(path: string): string {
  return path.replaceAll(',', ',,');
}
