// hot path: see ARCHITECTURE.md "Data plane"

import type { Mapping } from '../memory/mapping.ts';

/** One range of a discard or write-zeroes request; bytes. */
export interface BlkRange {
  readonly offset: number;
  readonly length: number;
  /** `IoFlag` bits. */
  readonly flags: number;
}

export const NO_RANGES: readonly BlkRange[] = [];

/**
 * The state of one request. A queue has as many as descriptors and uses them again and again, so that a request
 * allocates nothing but such segments of its `iov` as the mapping does not remember.
 */
export class Slot {
  /** What the ring knows the request by: head of the chain (split rings), or buffer id (packed ones). */
  head = 0;
  /** VIRTIO_BLK_T_*. */
  type = 0;
  /** Byte of the disk where a read or write starts. */
  offset = 0;
  /** Payload of a read or write, in bytes. */
  length = 0;
  /** Payload segments of a read or write. */
  readonly iov: Uint8Array[] = [];
  /** Ranges of a discard or write-zeroes, and how many of them have been started. */
  ranges: readonly BlkRange[] = NO_RANGES;
  rangesStarted = 0;
  /** Device-writable bytes before the status byte. */
  writablePayload = 0;
  /** Bytes the device has written to the payload, once it is known. */
  written = 0;
  /** Of a flush: which writes it covers. */
  unflushedMark = 0;
  /** Where the status byte goes. Undefined: there is no place for it. */
  statusMapping: Mapping | undefined;
  statusIova = 0;
  /** Settlement handlers for asynchronous calls, made once. */
  readonly onDone: () => void;
  readonly onFail: (error: unknown) => void;

  constructor(done: (slot: Slot) => void, fail: (slot: Slot, error: unknown) => void) {
    this.onDone = () => done(this);
    this.onFail = (error) => fail(this, error);
  }
}
