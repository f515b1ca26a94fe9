import { BlockError } from '../../../core/api/errors.ts';
import { VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_UNSUPP } from '../abi/virtio-blk.ts';

/** The status byte for a failed request. virtio-blk has no way to say more: no ENOSPC, no EROFS, no "retry". */
export function statusOf(error: unknown): number {
  return BlockError.is(error) && error.code === 'ENOTSUP' ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}
