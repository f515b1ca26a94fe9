import type { ResolvedCaps } from '../../../core/api/device.ts';
import {
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
} from '../abi/virtio-blk.ts';
import {
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
} from '../abi/virtio-ring.ts';
import type { RingLayout } from '../virtq/ring-state.ts';

const NAMES: readonly (readonly [number, string])[] = [
  [VIRTIO_BLK_F_SIZE_MAX, 'SIZE_MAX'],
  [VIRTIO_BLK_F_SEG_MAX, 'SEG_MAX'],
  [VIRTIO_BLK_F_RO, 'RO'],
  [VIRTIO_BLK_F_BLK_SIZE, 'BLK_SIZE'],
  [VIRTIO_BLK_F_FLUSH, 'FLUSH'],
  [VIRTIO_BLK_F_TOPOLOGY, 'TOPOLOGY'],
  [VIRTIO_BLK_F_MQ, 'MQ'],
  [VIRTIO_BLK_F_DISCARD, 'DISCARD'],
  [VIRTIO_BLK_F_WRITE_ZEROES, 'WRITE_ZEROES'],
  [VIRTIO_F_INDIRECT_DESC, 'INDIRECT_DESC'],
  [VIRTIO_F_EVENT_IDX, 'EVENT_IDX'],
  [VIRTIO_F_VERSION_1, 'VERSION_1'],
  [VIRTIO_F_ACCESS_PLATFORM, 'ACCESS_PLATFORM'],
  [VIRTIO_F_RING_PACKED, 'RING_PACKED'],
];

const ALWAYS: readonly number[] = [
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_MQ,
  VIRTIO_F_VERSION_1,
  VIRTIO_F_ACCESS_PLATFORM,
];

/** What the rings may have. Linux chooses every feature of these that it is offered. */
export interface OfferedRing {
  readonly layout: RingLayout;
  readonly eventIdx: boolean;
  readonly indirect: boolean;
}

/**
 * Rings are little-endian with it, and of the machine's byte order without. ACCESS_PLATFORM is not required, though
 * every address goes through the IOTLB: a guest without an IOMMU does not have it, and its hypervisor maps what such a
 * guest means, but need not say so to the device (QEMU does).
 */
const REQUIRED: readonly number[] = [VIRTIO_F_VERSION_1];

const mask = (bits: readonly number[]): bigint => bits.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);

export const hasFeature = (features: bigint, bit: number): boolean => ((features >> BigInt(bit)) & 1n) === 1n;

/** The layout of the rings of a driver with these features. */
export const ringLayout = (features: bigint): RingLayout =>
  hasFeature(features, VIRTIO_F_RING_PACKED) ? 'packed' : 'split';

/** The feature bits a disk of these capabilities offers. */
export function offeredFeatures(caps: ResolvedCaps, ring: OfferedRing): bigint {
  const bits = [...ALWAYS];
  if (ring.layout === 'packed') bits.push(VIRTIO_F_RING_PACKED);
  if (ring.eventIdx) bits.push(VIRTIO_F_EVENT_IDX);
  if (ring.indirect) bits.push(VIRTIO_F_INDIRECT_DESC);
  if (!caps.write) bits.push(VIRTIO_BLK_F_RO);
  if (caps.write && caps.flush) bits.push(VIRTIO_BLK_F_FLUSH);
  if (caps.write && caps.discard) bits.push(VIRTIO_BLK_F_DISCARD);
  if (caps.write && caps.writeZeroes !== 'none') bits.push(VIRTIO_BLK_F_WRITE_ZEROES);
  return mask(bits);
}

/** Why a driver's choice cannot be accepted at FEATURES_OK; undefined when it can. */
export function featureProblem(offered: bigint, negotiated: bigint): string | undefined {
  const extra = negotiated & ~offered;
  if (extra !== 0n)
    return `the driver chose features that were not offered: ${featureNames(extra).join(', ')}`;
  const missing = mask(REQUIRED) & ~negotiated;
  if (missing !== 0n)
    return `the driver did not choose required features: ${featureNames(missing).join(', ')}`;
  return undefined;
}

/** For logs: names as the specification spells them, without prefix; unknown bits as `bit N`. */
export function featureNames(features: bigint): string[] {
  const names: string[] = [];
  for (let bit = 0; bit < 64; bit++) {
    if (!hasFeature(features, bit)) continue;
    names.push(NAMES.find(([known]) => known === bit)?.[1] ?? `bit ${bit}`);
  }
  return names;
}
