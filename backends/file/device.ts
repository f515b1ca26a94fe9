import { extname } from 'node:path';
import { type BlockDevice, FileIo, FileSpace, type Logger } from '../../core/plugin.ts';
import { growStore } from './grow.ts';
import type { Store } from './open-store.ts';

/** An open file as every thread of the process can use it. Structured-cloneable. */
export interface SharedStore extends Omit<Store, 'handle'> {
  readonly fd: number;
  readonly discards: boolean;
  /** Common to all threads: once a flush has failed, none may succeed. */
  readonly flushState: SharedArrayBuffer;
}

/** Same folder, and `.ts` from source but `.js` once built. */
export const THREAD_MODULE = new URL(`./thread-device${extname(import.meta.url)}`, import.meta.url).href;

/** Puts a device on an open store, and takes the store over. Throws nothing that leaves it open. */
export async function fileDevice(store: Store, logger: Logger): Promise<BlockDevice> {
  await using owned = new AsyncDisposableStack();
  owned.defer(() => store.handle.close());
  const { handle, ...rest } = store;
  const shared = {
    ...rest,
    fd: handle.fd,
    discards: await canDiscard(store),
    flushState: new SharedArrayBuffer(FileIo.FLUSH_STATE_BYTES),
  };
  const device = sharedDevice(shared, logger);
  owned.use(device);
  const resources = owned.move();
  return {
    ...device,
    perThread: { module: THREAD_MODULE, data: shared },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** A device on a file that somebody else keeps open for as long as the device exists. */
export function sharedDevice(store: SharedStore, logger: Logger): BlockDevice {
  const { fd, path, size, kind, flushState } = store;
  const direct = store.direct && { direct: store.direct };
  const io = new FileIo(fd, { path, flushState, ...direct });
  const space = new FileSpace(fd, { path, io, size, kind, ...direct });
  if (io.engineReason !== undefined) {
    logger.warn('io_uring is not available, using the thread pool', { reason: io.engineReason });
  }
  logger.debug('file opened', {
    path,
    size,
    kind,
    engine: io.engineName,
    direct: store.direct !== undefined,
  });
  const info = { ...deviceInfo(store) };
  const reading: BlockDevice = {
    info,
    read: (offset, iov) => io.read(offset, iov),
    // Of a block device the kernel only says that all of it is data.
    ...(kind === 'file' && { extents: (offset, length) => space.extents(offset, length) }),
    async resize(wanted) {
      info.size = await growStore(store, info.size, wanted);
    },
    [Symbol.asyncDispose]: () => io[Symbol.asyncDispose](),
  };
  if (store.readOnly) return reading;
  return {
    ...reading,
    write: (offset, iov) => io.write(offset, iov),
    flush: () => io.flush(),
    ...(store.discards && { discard: (offset, length) => space.discard(offset, length) }),
    writeZeroes: (offset, length, flags) => space.writeZeroes(offset, length, flags),
  };
}

async function canDiscard(store: Store): Promise<boolean> {
  if (store.readOnly) return false;
  if (store.kind === 'block device') return store.discardGranularity !== undefined;
  return await FileSpace.canPunchHoles(store.handle.fd, store.size);
}

function deviceInfo({ size, blockSize, physicalBlockSize, discardGranularity, readOnly }: SharedStore) {
  return {
    size,
    caps: { concurrency: 'parallel', readOnly } as const,
    limits: {
      blockSize,
      physicalBlockSize,
      ...(discardGranularity !== undefined && { discardGranularity }),
    },
  };
}
