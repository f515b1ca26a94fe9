// hot path: see ARCHITECTURE.md "Data plane"

import { BlockError, copyIn, type IoVec } from '../../core/plugin.ts';
import type { ReplyTo, RespReply } from './resp-connection.ts';

/** Told of the end of a read. */
export interface ReadOwner {
  /** `reply`: how many bytes there were, or an error of the server. */
  replied(read: RangeRead, reply: RespReply | Error): void;
  lost(read: RangeRead): void;
}

/** A read within one chunk, of which the reply goes into the memory of the request as it comes. It may be asked again. */
export class RangeRead implements ReplyTo {
  readonly chunk: number;
  /** Within the chunk. */
  readonly from: number;
  readonly length: number;
  readonly iov: IoVec;
  /** Within the request. */
  readonly at: number;
  readonly promise: Promise<void>;
  resolve!: () => void;
  reject!: (error: unknown) => void;
  /** Of the connections, when it was asked: see `RedisClients.generation`. */
  generation = 0;
  readonly #owner: ReadOwner;
  #copied = 0;
  #failure: BlockError | undefined;

  constructor(owner: ReadOwner, chunk: number, from: number, length: number, iov: IoVec, at: number) {
    this.#owner = owner;
    this.chunk = chunk;
    this.from = from;
    this.length = length;
    this.iov = iov;
    this.at = at;
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  takes(): boolean {
    this.#copied = 0;
    return true;
  }

  bytes(input: Buffer, start: number, end: number): void {
    const length = Math.min(end - start, this.length - this.#copied);
    if (length <= 0 || this.#failure !== undefined) return;
    const [only] = this.iov;
    const to = this.at + this.#copied;
    this.#copied += length;
    if (this.iov.length === 1 && to + length <= only!.length) input.copy(only!, to, start, start + length);
    else
      try {
        copyIn(this.iov, input.subarray(start, start + length), to);
      } catch (error) {
        if (!BlockError.is(error)) throw error;
        this.#failure = error;
      }
  }

  replied(reply: RespReply | Error): void {
    this.#owner.replied(this, this.#failure ?? reply);
  }

  lost(): void {
    this.#owner.lost(this);
  }
}
