import type { Extent, IoVec } from '../../core/plugin.ts';

/** One request, from the call that makes it until the call settles: over as many connections as it takes. */
export class NbdRequest {
  readonly command: number;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
  /** Where the data of a read goes. */
  readonly iov: IoVec;
  /** The data of a write: ours, since it may have to be sent again. */
  readonly data: Uint8Array | undefined;
  readonly promise: Promise<void>;
  /** Its place among those that were sent on this connection or group of them. */
  sequence = 0;
  /** Of a read: bytes that have arrived. */
  received = 0;
  /** Of a read that is answered in chunks: the ranges that have arrived, in order. */
  readonly covered: { start: number; end: number }[] = [];
  /** NBD_E* of the first chunk that reports one. */
  error = 0;
  /** Why it fails on this side. */
  failure: Error | undefined;
  /** What the server said of it. */
  message = '';
  extents: Extent[] = [];
  resolve!: () => void;
  reject!: (error: Error) => void;

  constructor(
    command: number,
    flags: number,
    offset: number,
    length: number,
    body: { iov?: IoVec; data?: Uint8Array } = {},
  ) {
    this.command = command;
    this.flags = flags;
    this.offset = offset;
    this.length = length;
    this.iov = body.iov ?? [];
    this.data = body.data;
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  /** As if it had not been sent. */
  rewind(): void {
    this.received = 0;
    this.covered.length = 0;
    this.error = 0;
    this.message = '';
    this.extents = [];
  }
}
