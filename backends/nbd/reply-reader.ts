// hot path: see ARCHITECTURE.md "Data plane"

import { ConnectionLost } from '../../core/nbd/connection-lost.ts';
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_READ,
  NBD_EINVAL,
  NBD_EXTENDED_REPLY_MAGIC,
  NBD_EXTENDED_REPLY_SIZE,
  NBD_REPLY_FLAG_DONE,
  NBD_REPLY_TYPE_BLOCK_STATUS,
  NBD_REPLY_TYPE_BLOCK_STATUS_EXT,
  NBD_REPLY_TYPE_ERROR_OFFSET,
  NBD_REPLY_TYPE_FLAG_ERROR,
  NBD_REPLY_TYPE_NONE,
  NBD_REPLY_TYPE_OFFSET_DATA,
  NBD_REPLY_TYPE_OFFSET_HOLE,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_SIMPLE_REPLY_SIZE,
  NBD_STATE_HOLE,
  NBD_STATE_ZERO,
  NBD_STRUCTURED_REPLY_MAGIC,
  NBD_STRUCTURED_REPLY_SIZE,
} from '../../core/nbd/protocol.ts';
import { copyIn, type Extent, fillZero, iovSlice } from '../../core/plugin.ts';
import type { ExportInfo } from './export-info.ts';
import type { NbdRequest } from './request.ts';

/** Longest chunk that is no data: an error with its message, or the status of many blocks. */
const MAX_CHUNK = 1024 * 1024;

/** From here on a system call of its own costs less than copying. Bytes. */
const DIRECT_MIN = 32 * 1024;

/** The requests that are under way on a connection. */
export interface Outstanding {
  /** By the two halves of the cookie; undefined when there is none. */
  find(high: number, low: number): NbdRequest | undefined;
  /** Its reply is complete; the cookie is free again. */
  answered(request: NbdRequest, low: number): void;
}

/** What comes next. */
const HEADER = 0;
const CHUNK = 1;
const DATA = 2;
type Stage = typeof HEADER | typeof CHUNK | typeof DATA;

/**
 * Understands what the server sends in the transmission phase (doc/proto.md, "Transmission phase"), however it is cut
 * into pieces. Throws `ConnectionLost` at everything that the protocol does not allow: nothing after it can be trusted.
 */
export class ReplyReader {
  readonly #info: ExportInfo;
  readonly #outstanding: Outstanding;
  #stage: Stage = HEADER;
  /** Bytes that the next step needs together, and those of them that are there. */
  #need: number;
  readonly #headerSize: number;
  #carry = Buffer.allocUnsafe(64);
  #carried = 0;
  #request: NbdRequest | undefined;
  #low = 0;
  #flags = 0;
  #type = 0;
  /** Of a chunk: bytes after its header. */
  #length = 0;
  /** Where data goes, as an offset into the request, and how much is still to come. */
  #at = 0;
  #left = 0;

  constructor(info: ExportInfo, outstanding: Outstanding) {
    this.#info = info;
    this.#outstanding = outstanding;
    this.#headerSize = info.extended ? NBD_EXTENDED_REPLY_SIZE : NBD_SIMPLE_REPLY_SIZE;
    this.#need = this.#headerSize;
  }

  /** Of a large read, where the data goes that comes next: nothing has to be looked at before that is there. */
  get destination(): Uint8Array | undefined {
    if (this.#stage !== DATA || this.#left < DIRECT_MIN) return undefined;
    const [memory] = iovSlice(this.#request!.iov, this.#at, this.#left);
    return memory !== undefined && memory.length >= DIRECT_MIN ? memory : undefined;
  }

  /** So many bytes are there, in `destination`. */
  arrived(length: number): void {
    this.#at += length;
    this.#left -= length;
    if (this.#left === 0) this.#endOfChunk();
  }

  take(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#stage === DATA) {
        const length = Math.min(this.#left, bytes.length - at);
        this.#deliver(bytes, at, length);
        at += length;
        this.#at += length;
        this.#left -= length;
        if (this.#left === 0) this.#endOfChunk();
        continue;
      }
      if (this.#carried === 0 && bytes.length - at >= this.#need) {
        const start = at;
        at += this.#need;
        this.#understand(bytes, start);
        continue;
      }
      const length = Math.min(this.#need - this.#carried, bytes.length - at);
      if (this.#carry.length < this.#need) this.#grow(this.#need);
      bytes.copy(this.#carry, this.#carried, at, at + length);
      at += length;
      this.#carried += length;
      if (this.#carried < this.#need) return;
      this.#carried = 0;
      this.#understand(this.#carry, 0);
    }
  }

  #grow(length: number): void {
    const carry = Buffer.allocUnsafe(length);
    this.#carry.copy(carry, 0, 0, this.#carried);
    this.#carry = carry;
  }

  /** `#need` bytes are there. */
  #understand(bytes: Buffer, at: number): void {
    if (this.#stage === CHUNK) {
      this.#chunk(bytes, at);
      return;
    }
    const magic = bytes.readUInt32BE(at);
    if (this.#info.extended) {
      if (magic !== NBD_EXTENDED_REPLY_MAGIC)
        throw new ConnectionLost(
          `a reply begins with ${magic.toString(16)} where extended headers were agreed on`,
        );
      this.#structured(bytes, at, bytes.readUInt32BE(at + 24) * 2 ** 32 + bytes.readUInt32BE(at + 28));
    } else if (magic === NBD_SIMPLE_REPLY_MAGIC) this.#simple(bytes, at);
    else if (magic !== NBD_STRUCTURED_REPLY_MAGIC || !this.#info.structured)
      throw new ConnectionLost(`a reply begins with ${magic.toString(16)}`);
    else if (this.#need < NBD_STRUCTURED_REPLY_SIZE) this.#needMore(bytes, at);
    else this.#structured(bytes, at, bytes.readUInt32BE(at + 16));
  }

  /** The longer of the two headers: what is there of it is kept. */
  #needMore(bytes: Buffer, at: number): void {
    if (bytes !== this.#carry) bytes.copy(this.#carry, 0, at, at + NBD_SIMPLE_REPLY_SIZE);
    this.#carried = NBD_SIMPLE_REPLY_SIZE;
    this.#need = NBD_STRUCTURED_REPLY_SIZE;
  }

  #simple(bytes: Buffer, at: number): void {
    const error = bytes.readUInt32BE(at + 4);
    const request = this.#find(bytes, at + 8);
    if (request.command === NBD_CMD_BLOCK_STATUS && error === 0)
      throw new ConnectionLost('the status of blocks is answered without any');
    if (request.command === NBD_CMD_READ && this.#info.structured)
      throw new ConnectionLost('a read is answered by a simple reply where chunks were agreed on');
    if (error !== 0) request.error ||= error;
    if (request.command === NBD_CMD_READ && error === 0) {
      this.#flags = NBD_REPLY_FLAG_DONE;
      this.#expectData(0, request.length);
    } else this.#done();
  }

  #structured(bytes: Buffer, at: number, length: number): void {
    this.#flags = bytes.readUInt16BE(at + 4);
    this.#type = bytes.readUInt16BE(at + 6);
    this.#find(bytes, at + 8);
    this.#length = length;
    this.#stage = CHUNK;
    switch (this.#type) {
      case NBD_REPLY_TYPE_NONE:
        if (this.#length !== 0 || (this.#flags & NBD_REPLY_FLAG_DONE) === 0)
          throw malformed('an empty chunk');
        this.#endOfChunk();
        return;
      case NBD_REPLY_TYPE_OFFSET_DATA:
        if (this.#length < 9) throw malformed('a chunk of data');
        this.#need = 8;
        return;
      case NBD_REPLY_TYPE_OFFSET_HOLE:
        if (this.#length !== 12) throw malformed('a chunk of a hole');
        this.#need = 12;
        return;
      default:
        if (this.#length > MAX_CHUNK || this.#length === 0)
          throw malformed(`a chunk of ${this.#length} bytes`);
        this.#need = this.#length;
    }
  }

  #chunk(bytes: Buffer, at: number): void {
    const request = this.#request!;
    switch (this.#type) {
      case NBD_REPLY_TYPE_OFFSET_DATA:
        this.#expectData(this.#place(bytes, at), this.#length - 8);
        return;
      case NBD_REPLY_TYPE_OFFSET_HOLE: {
        const length = bytes.readUInt32BE(at + 8);
        const start = this.#place(bytes, at);
        this.#cover(start, length);
        fillZero(request.iov, start, length);
        break;
      }
      case NBD_REPLY_TYPE_BLOCK_STATUS:
      case NBD_REPLY_TYPE_BLOCK_STATUS_EXT:
        this.#blockStatus(request, bytes, at);
        break;
      default:
        this.#errorChunk(request, bytes, at);
    }
    this.#endOfChunk();
  }

  /** The offset of a chunk, as one into its request. */
  #place(bytes: Buffer, at: number): number {
    const request = this.#request!;
    const start = bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4) - request.offset;
    if (request.command !== NBD_CMD_READ || start < 0 || start >= request.length)
      throw malformed('data that nobody asked for');
    return start;
  }

  #expectData(start: number, length: number): void {
    this.#cover(start, length);
    this.#at = start;
    this.#left = length;
    this.#stage = DATA;
  }

  /** Every byte of a read comes once: a byte that came twice would hide one that did not come. */
  #cover(start: number, length: number): void {
    const request = this.#request!;
    const end = start + length;
    if (length === 0 || end > request.length) throw malformed('more data than was asked for');
    const last = request.covered.at(-1);
    if (last !== undefined && last.end === start) last.end = end;
    else {
      if (request.covered.some((range) => start < range.end && range.start < end))
        throw malformed('the same data twice');
      request.covered.push({ start, end });
    }
    request.received += length;
  }

  /** A driver's reset takes the memory away from requests that are late; that is not the server's fault. */
  #deliver(bytes: Buffer, at: number, length: number): void {
    const request = this.#request!;
    try {
      copyIn(request.iov, bytes.subarray(at, at + length), this.#at);
    } catch (error) {
      request.failure = error as Error;
    }
  }

  #endOfChunk(): void {
    if ((this.#flags & NBD_REPLY_FLAG_DONE) !== 0) this.#done();
    else this.#nextHeader();
  }

  #blockStatus(request: NbdRequest, bytes: Buffer, at: number): void {
    const length = this.#length;
    const isExtended = this.#type === NBD_REPLY_TYPE_BLOCK_STATUS_EXT;
    const [head, each] = isExtended ? [8, 16] : [4, 8];
    if (
      isExtended !== this.#info.extended ||
      request.command !== NBD_CMD_BLOCK_STATUS ||
      (length - head) % each !== 0 ||
      length < head + each ||
      (isExtended && bytes.readUInt32BE(at + 4) !== (length - head) / each) ||
      request.extents.length > 0
    )
      throw malformed('a status of blocks');
    // Of a context that was not asked for.
    if (bytes.readUInt32BE(at) !== this.#info.allocationContext)
      throw malformed('the status of another context');
    const end = request.offset + request.length;
    let offset = request.offset;
    for (let entry = at + head; entry < at + length && offset < end; entry += each) {
      const first = bytes.readUInt32BE(entry);
      const size = isExtended ? first * 2 ** 32 + bytes.readUInt32BE(entry + 4) : first;
      if (size === 0) throw malformed('an extent without length');
      // All flags of this context are in the lower half.
      const state = bytes.readUInt32BE(entry + each - 4);
      // The last one may go on after what was asked for.
      const extent = { offset, length: Math.min(size, end - offset), kind: kindOf(state) };
      request.extents.push(extent);
      offset += extent.length;
    }
  }

  #errorChunk(request: NbdRequest, bytes: Buffer, at: number): void {
    if ((this.#type & NBD_REPLY_TYPE_FLAG_ERROR) === 0)
      throw new ConnectionLost(`a chunk has the unknown type ${this.#type}`);
    const rest = this.#type === NBD_REPLY_TYPE_ERROR_OFFSET ? 8 : 0;
    if (this.#length < 6 + rest) throw malformed('an error');
    const message = bytes.readUInt16BE(at + 4);
    if (message > this.#length - 6 - rest) throw malformed('the message of an error');
    request.error ||= bytes.readUInt32BE(at) || NBD_EINVAL;
    request.message ||= bytes.toString('utf8', at + 6, at + 6 + message);
  }

  #find(bytes: Buffer, at: number): NbdRequest {
    this.#low = bytes.readUInt32BE(at + 4);
    const request = this.#outstanding.find(bytes.readUInt32BE(at), this.#low);
    if (request === undefined) throw new ConnectionLost('a request is answered that was not made');
    this.#request = request;
    return request;
  }

  #done(): void {
    const request = this.#request!;
    if (request.command === NBD_CMD_READ && request.error === 0 && request.received !== request.length)
      throw malformed(`${request.received} of ${request.length} bytes`);
    if (request.command === NBD_CMD_BLOCK_STATUS && request.error === 0 && request.extents.length === 0)
      throw malformed('no status of blocks');
    this.#nextHeader();
    this.#outstanding.answered(request, this.#low);
  }

  #nextHeader(): void {
    this.#request = undefined;
    this.#stage = HEADER;
    this.#need = this.#headerSize;
  }
}

/** A hole that need not read as zeros may hold anything. */
function kindOf(state: number): Extent['kind'] {
  if ((state & NBD_STATE_ZERO) === 0) return 'data';
  return (state & NBD_STATE_HOLE) === 0 ? 'zero' : 'hole';
}

function malformed(what: string): ConnectionLost {
  return new ConnectionLost(`the server sent ${what}, which the protocol does not allow`);
}
