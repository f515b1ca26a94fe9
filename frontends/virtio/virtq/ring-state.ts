/**
 * Where the device stands in a ring: what a queue object leaves to its successor, and what the transport saves and
 * restores when a virtual machine moves.
 */
export type RingState = SplitState | PackedState;
export type RingLayout = RingState['layout'];

export interface SplitState {
  readonly layout: 'split';
  /** Available index to take next, 0 … 65535. The used index is in the ring. */
  readonly availIndex: number;
}

export interface PackedState {
  readonly layout: 'packed';
  /** Descriptor to take next. */
  readonly avail: PackedPosition;
  /** Descriptor to mark as used next. */
  readonly used: PackedPosition;
}

/** A place in a packed ring. The wrap counter changes each time the end of the ring is passed (VIRTIO 1.3, 2.8.1). */
export interface PackedPosition {
  readonly index: number;
  readonly wrap: 0 | 1;
}
