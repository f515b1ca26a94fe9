import type { Chain } from './chain.ts';

/** Where a virtqueue is, as the transport reports it. Addresses are I/O virtual addresses. */
export interface RingGeometry {
  /** Entries. Split rings: a power of two up to 32768. */
  readonly num: number;
  /** Descriptor table. */
  readonly descAddr: number;
  /** Driver area: the available ring. */
  readonly driverAddr: number;
  /** Device area: the used ring. */
  readonly deviceAddr: number;
  /** Available index to start from, 0 … 65535. */
  readonly availIndex: number;
}

/** What `pop` says when it took nothing. */
export const POP_EMPTY = -1;
export const POP_BROKEN = -2;

/**
 * The device's side of one virtqueue, whatever its layout. Take with `pop` until it is empty; give back each head
 * once with `push`; make pushed heads visible with `publish`, then ask `needsInterrupt` once.
 *
 * The loop that loses no notification: `disableKicks`, pop until empty, `enableKicks`, and again if that says so.
 */
export interface Virtqueue {
  readonly num: number;
  /** The index `pop` takes next, 0 … 65535: where a successor starts. */
  readonly availIndex: number;
  /** Why the ring cannot be used any more; set before `pop` first returns POP_BROKEN. */
  readonly brokenReason: string | undefined;
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
