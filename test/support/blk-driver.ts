import type { Descriptor, DriverRing } from './driver-ring.ts';

/** How a request is laid out in descriptors. */
export interface Framing {
  /** Sizes into which the readable bytes are cut, header included; the rest is one piece. Default: header, payload. */
  readonly readable?: readonly number[];
  /** Sizes into which the writable bytes are cut, status included; the rest is one piece. Default: payload, status. */
  readonly writable?: readonly number[];
  readonly indirect?: boolean;
  /** Descriptors that come before the indirect table; packed rings allow none. Default 0. */
  readonly direct?: number;
}

export interface SentRequest {
  readonly head: number;
  /** Everything the device may read: header and payload. */
  readonly readable: Piece[];
  /** Everything the device may write: payload and status. */
  readonly writable: Piece[];
}

interface Piece {
  readonly addr: number;
  readonly len: number;
}

/** A status the device never writes: seen when it has not written one. */
export const NO_STATUS = 0xee;

/** Builds virtio-blk requests on a ring, in any framing, and reads their answers. */
export class BlkDriver {
  readonly ring: DriverRing;

  constructor(ring: DriverRing) {
    this.ring = ring;
  }

  read(sector: number, length: number, framing: Framing = {}): SentRequest {
    return this.send(0, sector, new Uint8Array(0), length, framing);
  }

  write(sector: number, data: Uint8Array, framing: Framing = {}): SentRequest {
    return this.send(1, sector, data, 0, framing);
  }

  flush(): SentRequest {
    return this.send(4, 0, new Uint8Array(0), 0);
  }

  /** DISCARD (11) or WRITE_ZEROES (13). */
  ranges(
    type: number,
    ranges: readonly { sector: number | bigint; count: number; flags?: number }[],
    framing: Framing = {},
  ): SentRequest {
    const payload = new DataView(new ArrayBuffer(16 * ranges.length));
    ranges.forEach(({ sector, count, flags = 0 }, i) => {
      payload.setBigUint64(16 * i, BigInt(sector), true);
      payload.setUint32(16 * i + 8, count, true);
      payload.setUint32(16 * i + 12, flags, true);
    });
    return this.send(type, 0, new Uint8Array(payload.buffer), 0, framing);
  }

  /** `payload` is read by the device, `length` more bytes are written by it. */
  send(
    type: number,
    sector: number | bigint,
    payload: Uint8Array,
    length: number,
    framing: Framing = {},
  ): SentRequest {
    const out = new Uint8Array(16 + payload.length);
    const header = new DataView(out.buffer);
    header.setUint32(0, type, true);
    header.setBigUint64(8, BigInt(sector), true);
    out.set(payload, 16);
    const readable = this.#place(out.length, framing.readable ?? [16]);
    this.#scatter(out, readable);
    const writable = this.#place(length + 1, framing.writable ?? (length > 0 ? [length] : []));
    this.#scatter(new Uint8Array(length + 1).fill(NO_STATUS), writable);
    const chain: Descriptor[] = [...readable, ...writable.map((piece) => ({ ...piece, writable: true }))];
    const { indirect, direct = 0 } = framing;
    const head = indirect
      ? this.ring.addIndirect(chain, Math.min(direct, chain.length - 1))
      : this.ring.add(chain);
    return { head, readable, writable };
  }

  status(request: SentRequest): number {
    const last = request.writable.at(-1)!;
    return this.ring.at(last.addr + last.len - 1, 1)[0]!;
  }

  /** The payload the device has written, without the status. */
  payload(request: SentRequest): Uint8Array {
    const parts = request.writable.map(({ addr, len }) => this.ring.at(addr, len));
    const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all.subarray(0, -1);
  }

  /** Cuts `length` bytes into pieces of the given sizes, each in memory of its own. */
  #place(length: number, sizes: readonly number[]): Piece[] {
    const pieces: Piece[] = [];
    let left = length;
    for (const size of [...sizes, length]) {
      const len = Math.min(size, left);
      if (len === 0) continue;
      pieces.push({ addr: this.ring.allocate(len, 1), len });
      left -= len;
    }
    return pieces;
  }

  #scatter(source: Uint8Array, pieces: readonly Piece[]): void {
    let at = 0;
    for (const { addr, len } of pieces) {
      this.ring.at(addr, len).set(source.subarray(at, at + len));
      at += len;
    }
  }
}
