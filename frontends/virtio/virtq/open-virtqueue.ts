import type { GuestMemory } from '../memory/guest-memory.ts';
import { PackedVirtqueue } from './packed.ts';
import { SplitVirtqueue } from './split.ts';
import type { RingFeatures, RingGeometry, Virtqueue } from './virtqueue.ts';

/**
 * Opens a virtqueue of the layout that its state is of; a log that is in use decides where it goes on. Throws
 * `virtio.bad-ring` or `virtio.bad-inflight-log`.
 */
export function openVirtqueue(
  ring: RingGeometry,
  memory: GuestMemory,
  features: RingFeatures,
  log?: Uint8Array,
): Virtqueue {
  const { state } = ring;
  return state.layout === 'packed'
    ? new PackedVirtqueue({ ...ring, state }, memory, features, log)
    : new SplitVirtqueue({ ...ring, state }, memory, features, log);
}
