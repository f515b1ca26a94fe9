// hot path: see ARCHITECTURE.md "Data plane"

import type { Socket } from 'node:net';
import type { Extent } from '../../core/api/device.ts';
import {
  NBD_EXTENDED_REPLY_MAGIC,
  NBD_EXTENDED_REPLY_SIZE,
  NBD_REPLY_FLAG_DONE,
  NBD_REPLY_TYPE_BLOCK_STATUS,
  NBD_REPLY_TYPE_BLOCK_STATUS_EXT,
  NBD_REPLY_TYPE_ERROR,
  NBD_REPLY_TYPE_NONE,
  NBD_REPLY_TYPE_OFFSET_DATA,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_SIMPLE_REPLY_SIZE,
  NBD_STATE_HOLE,
  NBD_STATE_ZERO,
  NBD_STRUCTURED_REPLY_MAGIC,
  NBD_STRUCTURED_REPLY_SIZE,
} from '../../core/nbd/protocol.ts';
import type { ClientRequest } from './request-reader.ts';

/** How replies of a connection look. */
export interface ReplyFormat {
  readonly structured: boolean;
  readonly extended: boolean;
}

/** A reply with data: the header and, behind it, room that a read fills. */
export interface DataReply {
  readonly bytes: Buffer;
  readonly data: Buffer;
}

/** Writes replies in the form that was agreed on. Those of one turn of the event loop leave together. */
export class ReplyWriter {
  readonly #socket: Socket;
  readonly #format: ReplyFormat;
  #corked = false;
  readonly #uncork = (): void => {
    this.#corked = false;
    this.#socket.uncork();
  };

  constructor(socket: Socket, format: ReplyFormat) {
    this.#socket = socket;
    this.#format = format;
  }

  /** Without data, of a request that was carried out. */
  done(request: ClientRequest): void {
    if (this.#format.extended) this.#send(this.#chunk(request, NBD_REPLY_TYPE_NONE, 0));
    else this.#send(simple(request, 0, 0));
  }

  /** `message`: for a person. */
  error(request: ClientRequest, error: number, message: string): void {
    if (!this.#format.structured) {
      this.#send(simple(request, error, 0));
      return;
    }
    const text = Buffer.from(message.slice(0, 1000));
    const bytes = this.#chunk(request, NBD_REPLY_TYPE_ERROR, 6 + text.length);
    const at = bytes.length - 6 - text.length;
    bytes.writeUInt32BE(error, at);
    bytes.writeUInt16BE(text.length, at + 4);
    text.copy(bytes, at + 6);
    this.#send(bytes);
  }

  /** For a read. `sendData` when it is full. */
  prepareData(request: ClientRequest): DataReply {
    const { length } = request;
    if (!this.#format.structured) {
      const bytes = simple(request, 0, length);
      return { bytes, data: bytes.subarray(NBD_SIMPLE_REPLY_SIZE) };
    }
    const bytes = this.#chunk(request, NBD_REPLY_TYPE_OFFSET_DATA, 8 + length);
    const at = bytes.length - 8 - length;
    writeU64(bytes, request.offset, at);
    return { bytes, data: bytes.subarray(at + 8) };
  }

  sendData({ bytes }: DataReply): void {
    this.#send(bytes);
  }

  /** Of a status request; the format has chunks. */
  blockStatus(request: ClientRequest, context: number, extents: readonly Extent[]): void {
    const { extended } = this.#format;
    const [head, each] = extended ? [8, 16] : [4, 8];
    const length = head + each * extents.length;
    const type = extended ? NBD_REPLY_TYPE_BLOCK_STATUS_EXT : NBD_REPLY_TYPE_BLOCK_STATUS;
    const bytes = this.#chunk(request, type, length);
    let at = bytes.length - length;
    bytes.writeUInt32BE(context, at);
    if (extended) bytes.writeUInt32BE(extents.length, at + 4);
    at += head;
    for (const extent of extents) {
      const state = STATES[extent.kind];
      if (extended) {
        writeU64(bytes, extent.length, at);
        writeU64(bytes, state, at + 8);
      } else {
        bytes.writeUInt32BE(extent.length, at);
        bytes.writeUInt32BE(state, at + 4);
      }
      at += each;
    }
    this.#send(bytes);
  }

  /** The header of the only chunk of a reply, and room for `length` bytes. */
  #chunk(request: ClientRequest, type: number, length: number): Buffer {
    const { extended } = this.#format;
    const size = extended ? NBD_EXTENDED_REPLY_SIZE : NBD_STRUCTURED_REPLY_SIZE;
    const bytes = Buffer.allocUnsafe(size + length);
    bytes.writeUInt32BE(extended ? NBD_EXTENDED_REPLY_MAGIC : NBD_STRUCTURED_REPLY_MAGIC, 0);
    bytes.writeUInt16BE(NBD_REPLY_FLAG_DONE, 4);
    bytes.writeUInt16BE(type, 6);
    bytes.writeUInt32BE(request.high, 8);
    bytes.writeUInt32BE(request.low, 12);
    if (extended) {
      writeU64(bytes, request.offset, 16);
      writeU64(bytes, length, 24);
    } else bytes.writeUInt32BE(length, 16);
    return bytes;
  }

  #send(bytes: Buffer): void {
    // The client is gone; what it has asked for is of no interest any more.
    if (!this.#socket.writable) return;
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      process.nextTick(this.#uncork);
    }
    this.#socket.write(bytes);
  }
}

const STATES: Readonly<Record<Extent['kind'], number>> = {
  data: 0,
  zero: NBD_STATE_ZERO,
  hole: NBD_STATE_HOLE | NBD_STATE_ZERO,
};

function simple(request: ClientRequest, error: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(NBD_SIMPLE_REPLY_SIZE + length);
  bytes.writeUInt32BE(NBD_SIMPLE_REPLY_MAGIC, 0);
  bytes.writeUInt32BE(error, 4);
  bytes.writeUInt32BE(request.high, 8);
  bytes.writeUInt32BE(request.low, 12);
  return bytes;
}

function writeU64(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32BE(Math.floor(value / 2 ** 32) >>> 0, at);
  bytes.writeUInt32BE(value >>> 0, at + 4);
}
