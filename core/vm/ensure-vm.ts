import { GatewayError } from '../api/errors.ts';
import { ensureDebianPackages, type Progress } from './debian-packages.ts';
import { ensureInitramfs } from './initramfs.ts';
import { ensureKernelImage, type KernelImage } from './kernel-image.ts';

/** Everything a VM is started from. */
export interface VmImages {
  readonly kernel: KernelImage;
  /** Path of the initramfs archive. */
  readonly initramfs: string;
}

/** kmod: modprobe in the guest, depmod for a downloaded kernel. busybox-static: the guest's first programs. */
const PACKAGES = ['qemu-system-x86', 'qemu-system-common', 'busybox-static', 'kmod'];

/**
 * Installs, downloads and builds what the test VM needs and does not find; a second or two when all is there.
 * Throws `vm.needs-root`, `packages.*`, `vm.unsupported-machine`, `vm.no-kernel`.
 */
export async function ensureVm(options: { readonly onProgress?: Progress } = {}): Promise<VmImages> {
  const onProgress = options.onProgress ?? (() => {});
  await ensureDebianPackages(PACKAGES, onProgress);
  if (process.getuid?.() !== 0) {
    throw new GatewayError('vm.needs-root', 'The test VM can only be started by root.', {
      why: "It shares the host's root folder with its guest through virtiofsd, which has to read every file.",
      fix: 'Run the same command with sudo, or as root in a container.',
    });
  }
  const kernel = await ensureKernelImage(onProgress);
  return { kernel, initramfs: await ensureInitramfs(kernel) };
}
