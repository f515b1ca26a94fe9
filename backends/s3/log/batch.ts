// hot path: see ARCHITECTURE.md "Data plane"

import { copyOut, type IoVec } from '../../../core/plugin.ts';
import type { ObjectCipher } from './encryption/volume-key.ts';
import type { StoredFrames } from './frames/frame-codec.ts';
import { FrameTable } from './frames/frame-table.ts';
import { type LogObject, learnFrames } from './log-object.ts';
import { PAGE_BLOCKS } from './map/page-blocks.ts';
import type { LogPosition } from './names.ts';
import { BLOCK, encodeHeader, type LogExtent, type ObjectHeader, type Opening } from './object-header.ts';
import type { Overlay } from './overlay.ts';

/** Memory of a batch at first, at least; doubled as it fills. Blocks. */
const FIRST_BLOCKS = 16;
/** Room in front of the data for the header, for each block: what its extent takes, and its part of a frame's entry. Bytes. */
const HEADER_PER_BLOCK = 28;
const HEADER_FIXED = 1024;
/** Extents are 32-bit lengths. Blocks. */
const MAX_ZERO = 2 ** 31;

/** The memory that zeroing so many blocks takes, here and in the overlay, at most. Bytes. */
export const zeroWeight = (blocks: number): number => 128 + 16 * Math.min(blocks, 2 * PAGE_BLOCKS);

/** What is the same for all objects of a writer. */
export type Signature = Pick<ObjectHeader, 'volume' | 'nonce'>;

/** A data object while it is being filled. Its blocks can be read all the time, as those of its `LogObject`. */
export class Batch {
  readonly object: LogObject;
  readonly extents: LogExtent[] = [];
  readonly #expected: number;
  /** Holds `object.data`, behind room for the header. */
  #memory: Buffer | undefined;
  #zeroWeight = 0;
  #firstRequest = 0;
  #lastRequest = 0;

  /** @param expected blocks that it will hold, more or less. */
  constructor(object: LogObject, expected = 0) {
    this.object = object;
    this.#expected = expected;
  }

  get isEmpty(): boolean {
    return this.extents.length === 0;
  }

  /** Of data. */
  get bytes(): number {
    return this.object.blocks * BLOCK;
  }

  /** The memory that it takes. Bytes. */
  get weight(): number {
    return this.bytes + this.#zeroWeight;
  }

  /** Takes `count` blocks from byte `from` of `iov` on. Returns how many of them are more than it held. */
  write(request: number, lba: number, count: number, iov: IoVec, from: number, overlay: Overlay): number {
    const { object } = this;
    const before = object.blocks;
    this.#reserve(before + count);
    for (let done = 0; done < count; ) {
      // What this object holds already is overwritten: an object is stored as a whole, or not at all.
      const held = overlay.blockOf(lba + done, object.id);
      let run = 1;
      while (
        done + run < count &&
        overlay.blockOf(lba + done + run, object.id) === (held < 0 ? -1 : held + run)
      )
        run++;
      const block = held < 0 ? object.blocks : held;
      copyOut(iov, object.data!.subarray(block * BLOCK, (block + run) * BLOCK), from + done * BLOCK);
      if (held < 0) {
        object.blocks += run;
        this.#addData(lba + done, run, block);
        overlay.set(lba + done, run, object.id, block);
      }
      done += run;
    }
    this.#count(request);
    return object.blocks - before;
  }

  zero(request: number, lba: number, count: number, overlay: Overlay): void {
    for (let done = 0; done < count; done += MAX_ZERO) {
      const blocks = Math.min(MAX_ZERO, count - done);
      const last = this.extents.at(-1);
      if (last?.kind === 'zero' && last.lba + last.blocks === lba + done && last.blocks + blocks <= MAX_ZERO)
        this.extents[this.extents.length - 1] = { ...last, blocks: last.blocks + blocks };
      else this.extents.push({ kind: 'zero', lba: lba + done, blocks, block: 0 });
    }
    overlay.zero(lba, count, this.object.id);
    this.#zeroWeight += zeroWeight(count);
    this.#count(request);
  }

  /** Blocks that are at `source` already: see `LogExtent`. */
  copy(lba: number, data: Uint8Array, source: LogPosition & { readonly block: number }): void {
    const { object } = this;
    const blocks = data.length / BLOCK;
    this.#reserve(object.blocks + blocks);
    object.data!.set(data, object.blocks * BLOCK);
    this.extents.push({ kind: 'copy', lba, blocks, block: object.blocks, source });
    object.blocks += blocks;
  }

  /** Of its blocks. */
  get data(): Buffer {
    return this.object.data?.subarray(0, this.bytes) ?? Buffer.alloc(0);
  }

  /** The object as it is stored, with its data as `frames` says. Nothing can be added any more. */
  seal(
    signature: Signature,
    place: LogPosition,
    previous: Buffer,
    parent: LogPosition,
    { entries, parts }: StoredFrames,
    cipher: ObjectCipher | undefined,
  ): { readonly header: Buffer; readonly body: Buffer } {
    const { object, data } = this;
    const header = encodeHeader({
      ...signature,
      place,
      isFence: false,
      previous,
      parent,
      firstRequest: this.#firstRequest,
      lastRequest: this.#lastRequest,
      blocks: object.blocks,
      extents: this.extents,
      frames: entries,
      cipher,
    });
    learnFrames(object, new FrameTable(object.blocks, entries, cipher), header.length);
    if (parts !== undefined) return { header, body: Buffer.concat([header, ...parts]) };
    const body = this.#bodyOf(header, data);
    object.data = body.subarray(header.length);
    return { header, body };
  }

  #count(request: number): void {
    if (this.#firstRequest === 0) this.#firstRequest = request;
    this.#lastRequest = request;
  }

  #addData(lba: number, blocks: number, block: number): void {
    const last = this.extents.at(-1);
    if (last?.kind === 'data' && last.lba + last.blocks === lba && last.block + last.blocks === block)
      this.extents[this.extents.length - 1] = { ...last, blocks: last.blocks + blocks };
    else this.extents.push({ kind: 'data', lba, blocks, block });
  }

  #reserve(blocks: number): void {
    const { object } = this;
    const has = (object.data?.length ?? 0) / BLOCK;
    if (blocks <= has) return;
    const room = Math.max(FIRST_BLOCKS, has === 0 ? this.#expected : has * 2, blocks);
    const start = HEADER_FIXED + room * HEADER_PER_BLOCK;
    const memory = Buffer.allocUnsafeSlow(start + room * BLOCK);
    if (object.data !== undefined) object.data.copy(memory, start, 0, object.blocks * BLOCK);
    this.#memory = memory;
    object.data = memory.subarray(start);
  }

  /** Header and data in one piece, without copying the data where the header fits in front of it. */
  #bodyOf(header: Buffer, data: Buffer): Buffer {
    const memory = this.#memory;
    const start = memory === undefined ? -1 : data.byteOffset - memory.byteOffset - header.length;
    if (start < 0) return Buffer.concat([header, data]);
    header.copy(memory!, start);
    return memory!.subarray(start, start + header.length + data.length);
  }
}

/** A fence: an object without anything, at a place where another writer must not put one. */
export function encodeFence(signature: Signature, place: LogPosition, { name, key }: Opening): Buffer {
  return encodeHeader({
    ...signature,
    place,
    isFence: true,
    previous: Buffer.alloc(32),
    parent: { epoch: 0, seq: 0 },
    firstRequest: 0,
    lastRequest: 0,
    blocks: 0,
    extents: [],
    frames: [],
    cipher: key?.cipher(name, signature.nonce, signature.volume),
  });
}
