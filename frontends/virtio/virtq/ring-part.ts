import { GatewayError } from '../../../core/api/errors.ts';
import { VIRTQ_MAX_SIZE } from '../abi/virtio-ring.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { AccessBits } from '../memory/mapping.ts';

/** Where a part of a ring is: a buffer and the offset in it. */
export interface RingPart {
  readonly buffer: ArrayBuffer;
  readonly offset: number;
}

/**
 * Finds one of the three parts of a virtqueue. It has to lie in one region, because it is accessed in place.
 * Throws `virtio.bad-ring`.
 */
export function ringPart(
  memory: GuestMemory,
  name: string,
  iova: number,
  bytes: number,
  align: number,
  access: AccessBits,
): RingPart {
  const range = `${bytes} bytes at 0x${iova.toString(16)}`;
  const mapping = memory.lookup(iova, access);
  if (mapping === undefined) throw badRing(`The ${name} (${range}) is not in memory the device may use.`);
  if (iova + bytes > mapping.end)
    throw badRing(`The ${name} (${range}) reaches beyond its region of memory.`);
  if (!mapping.present(iova, iova + bytes))
    throw badRing(`The ${name} (${range}) has pages that do not exist.`);
  const offset = iova + mapping.bias;
  if (offset % align !== 0 || iova % align !== 0)
    throw badRing(`The ${name} (${range}) is not aligned to ${align} bytes.`);
  return { buffer: mapping.buffer, offset };
}

/** Throws `virtio.bad-ring` unless `num` is a size a split virtqueue can have. */
export function checkSplitSize(num: number): void {
  if (!Number.isInteger(num) || num < 1 || num > VIRTQ_MAX_SIZE || (num & (num - 1)) !== 0)
    throw badRing(
      `A split virtqueue cannot have ${num} entries: a power of two up to ${VIRTQ_MAX_SIZE} can be.`,
    );
}

/** Throws `virtio.bad-ring` unless `num` is a size a packed virtqueue can have. */
export function checkPackedSize(num: number): void {
  if (!Number.isInteger(num) || num < 1 || num > VIRTQ_MAX_SIZE)
    throw badRing(`A packed virtqueue cannot have ${num} entries: 1 to ${VIRTQ_MAX_SIZE} can be.`);
}

export function badRing(why: string): GatewayError {
  return new GatewayError('virtio.bad-ring', 'The driver set up a virtqueue that cannot be used.', { why });
}
