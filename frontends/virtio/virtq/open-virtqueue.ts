import type { GuestMemory } from '../memory/guest-memory.ts';
import { PackedVirtqueue } from './packed.ts';
import { SplitVirtqueue } from './split.ts';
import type { RingFeatures, RingGeometry, Virtqueue } from './virtqueue.ts';

/** Opens a virtqueue of the layout that its state is of. Throws `virtio.bad-ring`. */
export function openVirtqueue(ring: RingGeometry, memory: GuestMemory, features: RingFeatures): Virtqueue {
  const { state } = ring;
  return state.layout === 'packed'
    ? new PackedVirtqueue({ ...ring, state }, memory, features)
    : new SplitVirtqueue({ ...ring, state }, memory, features);
}
