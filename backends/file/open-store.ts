import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, rm, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import {
  blockGeometry,
  type DirectAlignment,
  directAlignment,
  GatewayError,
  type LockHolder,
  type Logger,
  lockFile,
} from '../../core/plugin.ts';
import type { FileConfig } from './config.ts';
import {
  directUnsupported,
  inUse,
  missing,
  openFailed,
  sizeMismatch,
  sizeRequired,
  sizeUnaligned,
  unsupportedType,
} from './errors.ts';

/** Direct I/O where the file system does not say what it demands: a page suits all of them. */
const CAUTIOUS_ALIGNMENT: DirectAlignment = { memory: 4096, offset: 4096 };
/** What the page cache and nearly all file systems work in. */
const FILE_BLOCK = 4096;

/** An open, locked file or block device that is fit to be a disk. The owner closes `handle`, which ends the lock. */
export interface Store {
  readonly path: string;
  readonly handle: FileHandle;
  readonly kind: 'file' | 'block device';
  /** Bytes; a multiple of `blockSize`. */
  readonly size: number;
  readonly blockSize: number;
  readonly physicalBlockSize: number;
  /** Bytes; undefined for a device without discard. */
  readonly discardGranularity: number | undefined;
  readonly readOnly: boolean;
  readonly direct: DirectAlignment | undefined;
}

export interface StoreContext {
  readonly baseDir: string;
  readonly logger: Logger;
  readonly readOnly: boolean;
  /** Aborts when it is time to give up waiting. */
  readonly signal: AbortSignal;
}

/** Opens what `config` names, creating the file if need be. Throws `GatewayError`, and leaves nothing behind then. */
export async function openStore(config: FileConfig, ctx: StoreContext): Promise<Store> {
  const path = resolve(ctx.baseDir, config.path);
  await using undo = new AsyncDisposableStack();
  const { handle, created } = await openOrCreate(path, config, ctx.readOnly);
  undo.defer(() => handle.close());
  await lock(path, handle, ctx);
  // Only under the lock: whoever opened the new file a moment earlier may be using it by now.
  if (created) undo.defer(() => rm(path, { force: true }));
  const store = await inspect(path, handle, config, ctx.readOnly);
  undo.move();
  return store;
}

/** Type of the file at `path`, or undefined when there is none. Throws when it cannot hold a disk. */
export async function storeKind(path: string): Promise<Store['kind'] | undefined> {
  const stats = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw openFailed(path, error, true);
  });
  return stats && kindOf(path, stats);
}

function kindOf(path: string, stats: Stats): Store['kind'] {
  if (stats.isFile()) return 'file';
  if (stats.isBlockDevice()) return 'block device';
  if (stats.isDirectory()) throw unsupportedType(path, 'folder');
  if (stats.isCharacterDevice()) throw unsupportedType(path, 'character device');
  throw unsupportedType(path, stats.isFIFO() ? 'pipe' : 'socket');
}

async function openOrCreate(
  path: string,
  config: FileConfig,
  readOnly: boolean,
): Promise<{ handle: FileHandle; created: boolean }> {
  const access =
    (readOnly ? constants.O_RDONLY : constants.O_RDWR) | (config.direct ? constants.O_DIRECT : 0);
  // The type comes first: opening a pipe would wait for its other end.
  const kind = await storeKind(path);
  try {
    if (kind === undefined) {
      assertCreatable(path, config, readOnly);
      const flags = access | constants.O_CREAT | constants.O_EXCL;
      return { handle: await open(path, flags, 0o600), created: true };
    }
    // O_EXCL without O_CREAT claims a block device: the kernel refuses when it is mounted or claimed already.
    const flags = kind === 'block device' ? access | constants.O_EXCL : access;
    return { handle: await open(path, flags), created: false };
  } catch (error) {
    if (GatewayError.is(error)) throw error;
    const failure = error as NodeJS.ErrnoException;
    // Somebody else created it in between. A symbolic link to nowhere looks the same, but is still not there.
    if (failure.code === 'EEXIST' && (await storeKind(path))) return openOrCreate(path, config, readOnly);
    // The directory entry may have been made before O_DIRECT was refused.
    if (failure.code === 'EINVAL' && config.direct) {
      if (kind === undefined) await rm(path, { force: true });
      throw directUnsupported(path, failure);
    }
    throw openFailed(path, failure, readOnly);
  }
}

function assertCreatable(path: string, config: FileConfig, readOnly: boolean): void {
  if (readOnly) throw missing(path, 'Correct "path"; a file is not created for a read-only disk.');
  if (!config.create)
    throw missing(path, 'Correct "path", or let it be created: "create": true and a "size".');
  if (config.size === undefined) throw sizeRequired(path, 'The file does not exist yet.');
  if (config.size % 512 !== 0) throw sizeUnaligned(path, config.size, 512, true);
}

async function lock(path: string, handle: FileHandle, ctx: StoreContext): Promise<void> {
  let holders: readonly LockHolder[] | undefined;
  try {
    holders = await lockFile(handle.fd, path, ctx.readOnly ? 'shared' : 'exclusive', ctx.signal);
  } catch (error) {
    ctx.signal.throwIfAborted();
    ctx.logger.warn('the file system has no locks: nothing keeps a second writer away', {
      path,
      error: (error as Error).message,
    });
    return;
  }
  if (holders !== undefined) throw inUse(path, holders);
}

async function inspect(
  path: string,
  handle: FileHandle,
  config: FileConfig,
  readOnly: boolean,
): Promise<Store> {
  let stats: Stats;
  let geometry: Pick<Store, 'size' | 'blockSize' | 'physicalBlockSize' | 'discardGranularity'>;
  try {
    stats = await handle.stat();
    geometry = stats.isBlockDevice()
      ? await deviceGeometry(path, handle, stats, readOnly)
      : await fileGeometry(path, handle, stats, config, readOnly);
  } catch (error) {
    throw GatewayError.is(error) ? error : openFailed(path, error as NodeJS.ErrnoException, readOnly);
  }
  const { size } = geometry;
  if (config.size !== undefined && size !== config.size) throw sizeMismatch(path, size, config.size);
  const direct = config.direct ? alignmentOf(path, handle) : undefined;
  const blockSize = Math.max(geometry.blockSize, direct?.offset ?? 0);
  const physicalBlockSize = Math.max(geometry.physicalBlockSize, blockSize);
  if (size % blockSize !== 0) throw sizeUnaligned(path, size, blockSize);
  return {
    ...geometry,
    path,
    handle,
    kind: kindOf(path, stats),
    blockSize,
    physicalBlockSize,
    readOnly,
    direct,
  };
}

async function deviceGeometry(path: string, handle: FileHandle, stats: Stats, readOnly: boolean) {
  const { logicalBlockSize, ...geometry } = await blockGeometry(handle.fd, stats.rdev);
  if (geometry.readOnly && !readOnly) {
    throw openFailed(
      path,
      Object.assign(new Error('the block device is read-only'), { code: 'EROFS' }),
      false,
    );
  }
  if (geometry.size === 0) throw sizeRequired(path, 'The block device is empty: it has no medium.');
  return { ...geometry, blockSize: logicalBlockSize };
}

async function fileGeometry(
  path: string,
  handle: FileHandle,
  stats: Stats,
  config: FileConfig,
  readOnly: boolean,
) {
  let { size } = stats;
  if (size === 0) {
    // Also what is left when creation was interrupted: no data is at stake.
    if (config.size === undefined) throw sizeRequired(path, 'The file is empty.');
    if (readOnly) throw sizeMismatch(path, 0, config.size);
    if (config.size % 512 !== 0) throw sizeUnaligned(path, config.size, 512, true);
    await handle.truncate(config.size);
    await handle.sync();
    await syncFolder(dirname(path));
    size = config.size;
  }
  return { size, blockSize: 512, physicalBlockSize: FILE_BLOCK, discardGranularity: FILE_BLOCK };
}

/** Makes a new or removed name in the folder durable. */
export async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  await handle.sync();
}

function alignmentOf(path: string, handle: FileHandle): DirectAlignment {
  try {
    return directAlignment(handle.fd) ?? CAUTIOUS_ALIGNMENT;
  } catch (error) {
    throw directUnsupported(path, error);
  }
}
