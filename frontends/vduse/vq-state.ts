import type { PackedPosition, RingLayout, RingState } from '../virtio/virtq/ring-state.ts';
import { VqState } from './abi.ts';

/** The state of a virtqueue as the kernel keeps it: in the answers to VQ_GET_INFO, and ours to GET_VQ_STATE. */

export function readVqState(view: DataView, at: number, layout: RingLayout): RingState {
  const u16 = (offset: number): number => view.getUint16(at + offset, true);
  if (layout === 'split') return { layout, availIndex: u16(VqState.SPLIT_AVAIL_INDEX) };
  const position = (counter: number, index: number): PackedPosition => ({
    index: u16(index),
    wrap: (u16(counter) & 1) === 1 ? 1 : 0,
  });
  return {
    layout,
    avail: position(VqState.PACKED_LAST_AVAIL_COUNTER, VqState.PACKED_LAST_AVAIL_IDX),
    used: position(VqState.PACKED_LAST_USED_COUNTER, VqState.PACKED_LAST_USED_IDX),
  };
}

export function writeVqState(view: DataView, at: number, state: RingState): void {
  const u16 = (offset: number, value: number): void => view.setUint16(at + offset, value, true);
  if (state.layout === 'split') {
    u16(VqState.SPLIT_AVAIL_INDEX, state.availIndex);
    return;
  }
  u16(VqState.PACKED_LAST_AVAIL_COUNTER, state.avail.wrap);
  u16(VqState.PACKED_LAST_AVAIL_IDX, state.avail.index);
  u16(VqState.PACKED_LAST_USED_COUNTER, state.used.wrap);
  u16(VqState.PACKED_LAST_USED_IDX, state.used.index);
}
