// hot path: see ARCHITECTURE.md "Data plane"

import { BlockError, copyOut, type IoVec } from '../../core/plugin.ts';
import { encodeWord } from './resp-connection.ts';
import type { Slab, WriteMemory } from './write-memory.ts';

/** What a change does to its chunk: see scripts.ts. */
export type ChangeKind = 'w' | 'z' | 'd';

const DONE = Promise.resolve();
const nothing = (): void => {};

/** A change of one chunk, from the call that makes it until it is durable: it may have to be sent again. */
export class Change {
  readonly chunk: number;
  readonly kind: ChangeKind;
  /** Within the chunk. */
  readonly offset: number;
  readonly length: number;
  /** Of a write: that of the chunk. */
  key: string | undefined;
  #promise: Promise<void>;
  #resolve!: () => void;
  #reject!: (error: BlockError) => void;
  /** Of a write: where its command is, ready to be sent, and in it the data. */
  slab: Slab | undefined;
  start = 0;
  end = 0;
  #dataStart = 0;

  constructor(chunk: number, kind: ChangeKind, offset: number, length: number) {
    this.chunk = chunk;
    this.kind = kind;
    this.offset = offset;
    this.length = length;
    this.#promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /**
   * A write of the part of `iov` that begins at byte `at`, of which it takes a copy: what a guest has in its memory may be
   * something else when it has to be sent again. Throws ESHUTDOWN as `copyOut` does.
   */
  static write(
    memory: WriteMemory,
    chunk: number,
    key: string,
    from: number,
    length: number,
    iov: IoVec,
    at: number,
  ): Change {
    const change = new Change(chunk, 'w', from, length);
    const head = `*4\r\n$8\r\nSETRANGE\r\n${encodeWord(key)}${encodeWord(String(from))}$${length}\r\n`;
    const slab = memory.take(head.length + length + 2);
    const { bytes } = slab;
    change.key = key;
    change.slab = slab;
    change.start = memory.start;
    change.#dataStart = change.start + bytes.write(head, change.start, 'latin1');
    const dataEnd = change.#dataStart + length;
    change.end = dataEnd + 2;
    bytes[dataEnd] = 0x0d;
    bytes[dataEnd + 1] = 0x0a;
    const [only] = iov;
    if (at === 0 && only?.length === length) bytes.set(only, change.#dataStart);
    else copyOut(iov, bytes.subarray(change.#dataStart, dataEnd), at);
    return change;
  }

  /** Settled by `resolve` and `reject`. */
  get promise(): Promise<void> {
    return this.#promise;
  }

  resolve(): void {
    this.#resolve();
    // It may be kept for long, with thousands of others.
    this.#promise = DONE;
    this.#resolve = this.#reject = nothing;
  }

  reject(error: BlockError): void {
    this.#reject(error);
  }

  /** Of a write: a view. */
  get data(): Buffer | undefined {
    return this.slab?.bytes.subarray(this.#dataStart, this.#dataStart + this.length);
  }

  /** The memory that it takes. Bytes. */
  get weight(): number {
    return 256 + this.end - this.start;
  }
}

/** The commands of writes; those that are one after the other in memory as one piece. */
export function commandsOf(writes: readonly Change[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let i = 0; i < writes.length; ) {
    const { slab: memory, start } = writes[i]!;
    let { end } = writes[i++]!;
    while (i < writes.length && writes[i]!.slab === memory && writes[i]!.start === end)
      end = writes[i++]!.end;
    pieces.push(memory!.bytes.subarray(start, end));
  }
  return pieces;
}

/** The chunk should be there: it was deleted, thrown away or lost, and nobody may take it for zeros. */
export function chunkLost(key: string): BlockError {
  return new BlockError('EIO', `the key ${key} is missing, and it was written`);
}
