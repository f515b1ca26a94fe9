import { type BlockDevice, FileIo, FileSpace, type Logger } from '../../core/plugin.ts';
import { growStore } from './grow.ts';
import type { Store } from './open-store.ts';

/** Puts a device on an open store, and takes the store over. Throws nothing that leaves it open. */
export async function fileDevice(store: Store, logger: Logger): Promise<BlockDevice> {
  await using owned = new AsyncDisposableStack();
  owned.defer(() => store.handle.close());
  const { path, size, kind } = store;
  const { fd } = store.handle;
  const direct = store.direct && { direct: store.direct };
  const io = owned.use(new FileIo(fd, { path, ...direct }));
  const space = new FileSpace(fd, { path, io, size, kind, ...direct });
  const discards =
    !store.readOnly &&
    (kind === 'file' ? await space.canPunchHoles() : store.discardGranularity !== undefined);
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
  const resources = owned.move();

  const info = { ...deviceInfo(store) };
  const reading: BlockDevice = {
    info,
    read: (offset, iov) => io.read(offset, iov),
    // Of a block device the kernel only says that all of it is data.
    ...(kind === 'file' && { extents: (offset, length) => space.extents(offset, length) }),
    async resize(wanted) {
      info.size = await growStore(store, info.size, wanted);
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
  if (store.readOnly) return reading;
  return {
    ...reading,
    write: (offset, iov) => io.write(offset, iov),
    flush: () => io.flush(),
    ...(discards && { discard: (offset, length) => space.discard(offset, length) }),
    writeZeroes: (offset, length, flags) => space.writeZeroes(offset, length, flags),
  };
}

function deviceInfo({ size, blockSize, physicalBlockSize, discardGranularity, readOnly }: Store) {
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
