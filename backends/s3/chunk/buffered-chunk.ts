import { copyIn, copyOut, fillZero, type IoVec } from '../../../core/plugin.ts';
import { RangeSet } from './range-set.ts';

/** Content of a chunk in memory. Bytes outside `valid` are whatever lies below: an older layer, or the store. */
export interface Layer {
  /** Undefined: all zeros. */
  readonly data: Buffer | undefined;
  readonly valid: RangeSet;
  /** Every byte is valid. */
  complete: boolean;
}

/** A chunk that was written to: what is newest, and what is on its way to the store. */
export class BufferedChunk {
  readonly index: number;
  /** Newest data; takes writes. Undefined while all there is is in `sealed`. */
  front: Layer | undefined;
  /** Complete, being uploaded: read-only until that settles. */
  sealed: Layer | undefined;
  /** The upload under way, from the moment at which it waits for its turn. */
  upload: Promise<void> | undefined;
  /** Changes made so far, and how many of them the store has acknowledged. */
  changes = 0;
  stored = 0;
  /** What is missing of it cannot be read from the store: not to be tried again before somebody writes or flushes. */
  broken = false;

  constructor(index: number) {
    this.index = index;
  }

  get uploading(): boolean {
    return this.upload !== undefined;
  }

  get dirty(): boolean {
    return this.stored < this.changes;
  }

  /** Copies [at, at + length) of the list `iov`, from its byte `from` on, into the front layer, which has data. */
  write(at: number, length: number, iov: IoVec, from: number): void {
    const { front } = this;
    copyOut(iov, front!.data!.subarray(at, at + length), from);
    this.#markValid(at, at + length);
  }

  /** Zeroes [start, end) of the front layer, which has data. */
  zero(start: number, end: number): void {
    this.front!.data!.fill(0, start, end);
    this.#markValid(start, end);
  }

  /**
   * Copies what is in memory of [at, at + length) into `iov` from its byte `to` on, and calls `gap` for each run that
   * is not.
   */
  read(at: number, length: number, iov: IoVec, to: number, gap: (start: number, end: number) => void): void {
    const { front, sealed } = this;
    const shift = to - at;
    const copyFrom = (layer: Layer) => (start: number, end: number) => {
      if (layer.data === undefined) fillZero(iov, start + shift, end - start);
      else copyIn(iov, layer.data.subarray(start, end), start + shift);
    };
    if (front === undefined) {
      if (sealed === undefined) gap(at, at + length);
      else copyFrom(sealed)(at, at + length);
      return;
    }
    if (front.complete) {
      copyFrom(front)(at, at + length);
      return;
    }
    front.valid.forEachIn(at, at + length, copyFrom(front));
    front.valid.forEachGap(at, at + length, sealed === undefined ? gap : copyFrom(sealed));
  }

  /** The upload of `sealed` is over: what it held goes below what was written meanwhile. Returns a buffer to give back. */
  unseal(): Buffer | undefined {
    const { front, sealed } = this;
    this.sealed = undefined;
    if (front === undefined) {
      this.front = sealed;
      return undefined;
    }
    const data = sealed!.data!;
    if (!front.complete) {
      front.valid.forEachGap(0, data.length, (start, end) => {
        data.copy(front.data!, start, start, end);
      });
      front.complete = true;
    }
    return data;
  }

  #markValid(start: number, end: number): void {
    const front = this.front!;
    this.changes++;
    if (front.complete) return;
    front.valid.add(start, end);
    front.complete = front.valid.covers(0, front.data!.length);
  }
}

export function emptyLayer(data: Buffer): Layer {
  return { data, valid: new RangeSet(), complete: false };
}

export function zeroLayer(): Layer {
  return { data: undefined, valid: new RangeSet(), complete: true };
}
