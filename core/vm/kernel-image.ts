import { mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { GatewayError } from '../api/errors.ts';
import { cachedFile, contentKey, exists, vmCacheFolder } from './cache-folder.ts';
import { downloadDebianPackage, type Progress, updateDebianPackageLists } from './debian-packages.ts';
import { runCommand } from './run-command.ts';

/** A kernel that the VM can boot, and where the host keeps its modules. */
export interface KernelImage {
  /** As `uname -r` prints it: `6.12.117+deb12-cloud-amd64`. */
  readonly release: string;
  /** What QEMU boots: the uncompressed kernel if it could be unpacked, else the bzImage. */
  readonly image: string;
  /** The folder that holds a folder named `release`. */
  readonly modules: string;
}

const RELEASE = /^6\.12\.\d+\+deb\d+-cloud-amd64$/;
const PACKAGE = /^linux-image-(6\.12\.\d+\+deb\d+-cloud-amd64)$/;

/**
 * Debian's newest 6.12 cloud kernel: the installed one, else one unpacked into the cache earlier, else downloaded and
 * unpacked there. Never installed: that would run the host's initramfs and boot loader hooks for nothing.
 */
export async function ensureKernelImage(onProgress: Progress): Promise<KernelImage> {
  if (process.arch !== 'x64') {
    throw new GatewayError(
      'vm.unsupported-machine',
      `The test VM runs on x86-64 only, this is ${process.arch}.`,
    );
  }
  const cache = join(vmCacheFolder(), 'kernels');
  const found =
    (await kernelIn('/')) ?? (await kernelInCache(cache)) ?? (await downloadKernel(cache, onProgress));
  const bzImage = await readFile(found.bzImage);
  const name = `vmlinux-${found.release}-${contentKey([bzImage])}`;
  const image = await cachedFile(join(vmCacheFolder(), name), async () => {
    onProgress(`unpacking kernel ${found.release}`);
    return extractKernel(bzImage) ?? bzImage;
  });
  return { release: found.release, image, modules: found.modules };
}

interface FoundKernel {
  readonly release: string;
  readonly bzImage: string;
  readonly modules: string;
}

async function kernelIn(root: string): Promise<FoundKernel | undefined> {
  const modules = join(root, 'lib', 'modules');
  const releases = (await readdir(modules).catch(() => [])).filter((name) => RELEASE.test(name));
  for (const release of releases.sort(byVersion).reverse()) {
    const bzImage = join(root, 'boot', `vmlinuz-${release}`);
    if ((await exists(bzImage)) && (await exists(join(modules, release, 'modules.dep')))) {
      return { release, bzImage, modules };
    }
  }
  return undefined;
}

async function kernelInCache(cache: string): Promise<FoundKernel | undefined> {
  const releases = (await readdir(cache).catch(() => [])).filter((name) => RELEASE.test(name));
  for (const release of releases.sort(byVersion).reverse()) {
    const found = await kernelIn(join(cache, release));
    if (found) return found;
  }
  return undefined;
}

async function downloadKernel(cache: string, onProgress: Progress): Promise<FoundKernel> {
  onProgress("looking for Debian's 6.12 cloud kernel");
  await updateDebianPackageLists(onProgress);
  const listed = await runCommand('apt-cache', ['search', '--names-only', '^linux-image-6\\.12\\.']);
  const releases = listed.stdout.split('\n').flatMap((line) => PACKAGE.exec(line.split(' ')[0]!)?.[1] ?? []);
  const release = releases.sort(byVersion).at(-1);
  if (!release) {
    throw new GatewayError('vm.no-kernel', 'No linux-image-6.12.*-cloud-amd64 package is available.', {
      why: 'The test VM needs a kernel with VDUSE; Debian 12 offers one through its security archive.',
      fix: 'Add `deb http://deb.debian.org/debian-security bookworm-security main` to the apt sources.',
    });
  }
  await mkdir(cache, { recursive: true });
  const partial = await mkdtemp(join(cache, 'partial-'));
  try {
    onProgress(`downloading linux-image-${release}`);
    await downloadDebianPackage(`linux-image-${release}`, partial, onProgress);
    const deb = (await readdir(partial)).find((name) => name.endsWith('.deb'));
    const root = join(partial, 'root');
    if (deb) await check('dpkg-deb', ['--extract', join(partial, deb), root]);
    // What the package's own script would do on installation, for this one folder.
    await check('depmod', ['--basedir', root, release]);
    // A second run may have been faster; its copy is as good as ours.
    await rename(root, join(cache, release)).catch(() => {});
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
  const found = await kernelIn(join(cache, release));
  if (!found) throw new GatewayError('vm.no-kernel', `linux-image-${release} holds no kernel with modules.`);
  return found;
}

async function check(command: string, args: readonly string[]): Promise<void> {
  const { exitCode, stderr } = await runCommand(command, args);
  if (exitCode === 0) return;
  throw new GatewayError('vm.no-kernel', `\`${command} ${args.join(' ')}\` failed with status ${exitCode}.`, {
    why: stderr.trim(),
  });
}

/** By the numbers in it: 6.12.9 comes before 6.12.117. */
function byVersion(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

const ZSTD_MAGIC = 0xfd2fb528;
const ELF_MAGIC = 0x464c457f;

/**
 * The ELF kernel inside a bzImage (Documentation/arch/x86/boot.rst: setup_sects at 0x1f1, payload_offset at 0x248,
 * payload_length at 0x24c, boot protocol 2.08). QEMU starts it directly through its PVH note, which spares the guest
 * from unpacking it under emulation. Undefined when it is packed with anything but zstd.
 */
export function extractKernel(bzImage: Uint8Array): Buffer | undefined {
  const view = Buffer.from(bzImage.buffer, bzImage.byteOffset, bzImage.byteLength);
  if (view.length < 0x250 || view.toString('latin1', 0x202, 0x206) !== 'HdrS') return undefined;
  if (view.readUInt16LE(0x206) < 0x0208) return undefined;
  const setupSectors = view[0x1f1] || 4;
  const start = (setupSectors + 1) * 512 + view.readUInt32LE(0x248);
  // The build appends the unpacked size, four bytes, to the compressed stream.
  const payload = view.subarray(start, start + view.readUInt32LE(0x24c) - 4);
  if (payload.length < 8 || payload.readUInt32LE(0) !== ZSTD_MAGIC) return undefined;
  const kernel = zstdDecompressSync(payload);
  return kernel.readUInt32LE(0) === ELF_MAGIC ? kernel : undefined;
}
