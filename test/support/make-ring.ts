import type { RingLayout } from '../../frontends/virtio/virtq/ring-state.ts';
import type { DriverRing, RingBuilderOptions } from './driver-ring.ts';
import { PackedRingBuilder } from './packed-ring-builder.ts';
import { RingBuilder } from './ring-builder.ts';

export const LAYOUTS: readonly RingLayout[] = ['split', 'packed'];

export function makeRing(layout: RingLayout, options: RingBuilderOptions): DriverRing {
  return layout === 'packed' ? new PackedRingBuilder(options) : new RingBuilder(options);
}
