import type { Chain } from './chain.ts';
import type { RingState } from './ring-state.ts';

/** Where a virtqueue is, as the transport reports it. Addresses are I/O virtual addresses. */
export interface RingGeometry<State extends RingState = RingState> {
  /** Entries, up to 32768. Split rings: a power of two. */
  readonly num: number;
  /** Descriptor area: the descriptor table, or the packed ring. */
  readonly descAddr: number;
  /** Driver area: the available ring, or the driver's event suppression. */
  readonly driverAddr: number;
  /** Device area: the used ring, or the device's event suppression. */
  readonly deviceAddr: number;
  /** The layout, and where to start in it. */
  readonly state: State;
}

/** What the driver chose that changes how a ring works. */
export interface RingFeatures {
  readonly eventIdx: boolean;
  readonly indirect: boolean;
}

/** What `pop` says when it took nothing. */
export const POP_EMPTY = -1;
export const POP_BROKEN = -2;

/**
 * The device's side of one virtqueue, whatever its layout. Take with `pop` until it is empty; give back each head
 * once with `push`; make pushed heads visible with `publish`, then ask `needsInterrupt` once.
 *
 * A head is what identifies a chain as long as it is in flight: the index of its first descriptor in a split ring,
 * its buffer id in a packed one.
 *
 * The loop that loses no notification: `disableKicks`, pop until empty, `enableKicks`, and again if that says so.
 */
export interface Virtqueue {
  readonly num: number;
  /** Where a successor starts, once everything that was taken is published. */
  readonly state: RingState;
  /** Why the ring cannot be used any more; set before `pop` first returns POP_BROKEN. */
  readonly brokenReason: string | undefined;
  /** Chains that a predecessor had in flight when its process ended: `pop` returns them first, oldest first. */
  readonly inherited: number;
  /** Takes the next chain into `chain` and returns its head, 0 … num - 1; or POP_EMPTY, or POP_BROKEN. */
  pop(chain: Chain): number;
  /** True when `pop` would take something, or find out that the ring is broken. */
  hasAvailable(): boolean;
  /** Gives `head` back with the number of bytes written to it. Not visible before `publish`. */
  push(head: number, written: number): void;
  publish(): void;
  /** True when the driver wants an interrupt for what was published since the last call. */
  needsInterrupt(): boolean;
  /** Asks the driver not to notify. */
  disableKicks(): void;
  /** Asks for notifications again. True: more chains arrived meanwhile, and no notification for them will come. */
  enableKicks(): boolean;
}
