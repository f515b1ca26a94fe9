import { fstat, fsync, ftruncate } from 'node:fs';
import { promisify } from 'node:util';
import { blockGeometry, GatewayError } from '../../core/plugin.ts';
import { openFailed, sizeUnaligned } from './errors.ts';
import type { Store } from './open-store.ts';

const [stat, sync, truncate] = [promisify(fstat), promisify(fsync), promisify(ftruncate)];

/**
 * Makes an open store `wanted` bytes large or, without that, sees how large somebody else has made it. `before`: what
 * is known. Returns the size in whole blocks; never a smaller one.
 */
export async function growStore(
  store: Omit<Store, 'handle'> & { readonly fd: number },
  before: number,
  wanted?: number,
): Promise<number> {
  const { path, fd, kind, blockSize } = store;
  if (wanted !== undefined && wanted !== before) {
    if (kind === 'block device') throw notOurs(path);
    if (store.readOnly) throw readOnly(path);
    await growFile(path, fd, wanted, blockSize);
  }
  const stats = await stat(fd);
  const bytes = kind === 'file' ? stats.size : (await blockGeometry(fd, stats.rdev)).size;
  const size = bytes - (bytes % blockSize);
  if (size < before) throw cannotShrink(path, before, size);
  return size;
}

/** The space is not allocated. */
export async function growFile(path: string, fd: number, size: number, blockSize: number): Promise<void> {
  if (size % blockSize !== 0) throw sizeUnaligned(path, size, blockSize, true);
  const { size: before } = await stat(fd);
  if (size < before) throw cannotShrink(path, before, size);
  await truncate(fd, size).catch((error: NodeJS.ErrnoException) => {
    throw openFailed(path, error, false);
  });
  await sync(fd);
}

export function notOurs(path: string): GatewayError {
  return new GatewayError('volume.unsupported', `${path} is a block device.`, {
    why: 'blockgate resizes and deletes files only.',
    fix: 'Use the tools of what provides the device, such as lvresize or lvremove.',
  });
}

function readOnly(path: string): GatewayError {
  return new GatewayError('volume.unsupported', `${path} is open read-only.`, {
    why: 'The disk is configured read-only.',
    fix: 'Grow the file with "truncate --size", then let the disk see it: "blockgate resize" without a size.',
  });
}

function cannotShrink(path: string, before: number, size: number): GatewayError {
  return new GatewayError('volume.cannot-shrink', `${path} cannot shrink from ${before} to ${size} bytes.`, {
    why: 'Whatever is stored in the part cut off would be lost.',
    fix: 'Create a smaller volume and copy the files over.',
  });
}
