// hot path: see ARCHITECTURE.md "Data plane"

import { ConnectionLost } from '../../core/nbd/connection-lost.ts';
import {
  NBD_CMD_FLAG_PAYLOAD_LEN,
  NBD_CMD_WRITE,
  NBD_EXTENDED_REQUEST_MAGIC,
  NBD_EXTENDED_REQUEST_SIZE,
  NBD_PORTABLE_MAX_PAYLOAD,
  NBD_REQUEST_MAGIC,
  NBD_REQUEST_SIZE,
} from '../../core/nbd/protocol.ts';

/** One request, as it was sent. */
export interface ClientRequest {
  readonly command: number;
  readonly flags: number;
  /** The cookie, in halves. */
  readonly high: number;
  readonly low: number;
  /** Bytes. Beyond 2^53 it is not exact, and beyond any disk. */
  readonly offset: number;
  readonly length: number;
  /** Of a write: its data, in the order of the disk. Undefined when it was too long to be kept. */
  readonly data: Uint8Array | undefined;
}

export interface RequestSink {
  /** No more requests can be taken now: `RequestReader.resume` goes on. */
  readonly isFull: boolean;
  request(request: ClientRequest): void;
}

/** Understands what a client sends in the transmission phase, however it is cut into pieces. */
export class RequestReader {
  readonly #sink: RequestSink;
  readonly #magic: number;
  readonly #headerSize: number;
  readonly #extended: boolean;
  readonly #header = Buffer.alloc(NBD_EXTENDED_REQUEST_SIZE);
  /** Bytes of `#header` that are there. */
  #got = 0;
  #rest: Buffer | undefined;
  /** A request whose payload is not there yet. */
  #request: ClientRequest | undefined;
  #payload: Uint8Array | undefined;
  #filled = 0;
  /** Bytes of payload that are still to come. */
  #missing = 0;

  constructor(extended: boolean, sink: RequestSink) {
    this.#sink = sink;
    this.#extended = extended;
    this.#magic = extended ? NBD_EXTENDED_REQUEST_MAGIC : NBD_REQUEST_MAGIC;
    this.#headerSize = extended ? NBD_EXTENDED_REQUEST_SIZE : NBD_REQUEST_SIZE;
  }

  /** Bytes are waiting for `resume`. */
  get isHeldUp(): boolean {
    return this.#rest !== undefined;
  }

  /** Throws `ConnectionLost` when it cannot tell any more where a request begins. Nothing may be held up. */
  take(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#request !== undefined) at = this.#takePayload(bytes, at);
      else if (this.#sink.isFull) {
        this.#rest = bytes.subarray(at);
        return;
      } else if (this.#got === 0 && bytes.length - at >= this.#headerSize) {
        const start = at;
        at += this.#headerSize;
        at = this.#understand(bytes, start, bytes, at);
      } else {
        const length = Math.min(this.#headerSize - this.#got, bytes.length - at);
        bytes.copy(this.#header, this.#got, at, at + length);
        this.#got += length;
        at += length;
        if (this.#got < this.#headerSize) return;
        this.#got = 0;
        at = this.#understand(this.#header, 0, bytes, at);
      }
    }
  }

  /** Goes on with what was held up. */
  resume(): void {
    const rest = this.#rest;
    this.#rest = undefined;
    if (rest !== undefined) this.take(rest);
  }

  /** A header is there, in `from`; what follows it begins at `at` of `bytes`. Returns where to go on. */
  #understand(from: Buffer, start: number, bytes: Buffer, at: number): number {
    if (from.readUInt32BE(start) !== this.#magic) throw new ConnectionLost('a request has the wrong magic');
    const flags = from.readUInt16BE(start + 4);
    const command = from.readUInt16BE(start + 6);
    const high = from.readUInt32BE(start + 8);
    const low = from.readUInt32BE(start + 12);
    const offset = from.readUInt32BE(start + 16) * 2 ** 32 + from.readUInt32BE(start + 20);
    const last = from.readUInt32BE(start + 24);
    const length = this.#extended ? last * 2 ** 32 + from.readUInt32BE(start + 28) : last;
    const hasPayload =
      command === NBD_CMD_WRITE || (this.#extended && (flags & NBD_CMD_FLAG_PAYLOAD_LEN) !== 0);
    if (!hasPayload || length === 0) {
      this.#sink.request({ command, flags, high, low, offset, length, data: undefined });
      return at;
    }
    const isKept = command === NBD_CMD_WRITE && length <= NBD_PORTABLE_MAX_PAYLOAD;
    const end = at + length;
    if (isKept && end <= bytes.length) {
      // Whole in one piece: nothing else writes into it.
      const data = bytes.subarray(at, end);
      this.#sink.request({ command, flags, high, low, offset, length, data });
      return end;
    }
    this.#payload = isKept ? Buffer.allocUnsafe(length) : undefined;
    this.#request = { command, flags, high, low, offset, length, data: this.#payload };
    this.#filled = 0;
    this.#missing = length;
    return at;
  }

  #takePayload(bytes: Buffer, at: number): number {
    const length = Math.min(this.#missing, bytes.length - at);
    this.#payload?.set(bytes.subarray(at, at + length), this.#filled);
    this.#filled += length;
    this.#missing -= length;
    if (this.#missing === 0) {
      const request = this.#request!;
      this.#request = undefined;
      this.#payload = undefined;
      this.#sink.request(request);
    }
    return at + length;
  }
}
