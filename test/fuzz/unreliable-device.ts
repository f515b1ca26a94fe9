import type { BlockDevice, DeviceInfo, IoVec, MaybePromise } from '../../core/api/device.ts';
import { BlockError } from '../../core/api/errors.ts';
import { Access } from '../../frontends/virtio/memory/mapping.ts';
import type { Random } from './random.ts';

/** What is wrong with a segment that is about to be accessed, if anything. */
type SegmentProblem = (segment: Uint8Array, access: number) => string | undefined;

interface Pending {
  readonly iov: IoVec | undefined;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A store that completes at once, later, in any order, or fails in any way, and that checks what reaches it: ranges
 * of the disk, and memory where the device may read or write.
 */
export class UnreliableDevice implements BlockDevice {
  readonly info: DeviceInfo;
  calls = 0;
  /** What reached the store and must not have. An exception would look like a failure of the store. */
  problem: string | undefined;
  /** Called within each call: the guest is at work meanwhile. */
  onCall: () => void = () => undefined;
  /** No request may be started any more. A flush may: it can be the second half of a write. */
  quiet = false;
  /** Requests in flight still write what they read. */
  writesLate = true;
  readonly #random: Random;
  readonly #segmentProblem: SegmentProblem;
  readonly #pending: Pending[] = [];

  constructor(random: Random, info: DeviceInfo, segmentProblem: SegmentProblem) {
    this.#random = random;
    this.#segmentProblem = segmentProblem;
    this.info = info;
  }

  get pending(): number {
    return this.#pending.length;
  }

  read(offset: number, iov: IoVec): MaybePromise<void> {
    this.#check(offset, this.#length(iov, Access.WRITE));
    return this.#answer(iov);
  }

  write(offset: number, iov: IoVec): MaybePromise<void> {
    if (this.info.caps?.readOnly) this.problem ??= 'a write reached a read-only store';
    this.#check(offset, this.#length(iov, Access.READ));
    return this.#answer(undefined);
  }

  flush(): MaybePromise<void> {
    return this.#answer(undefined);
  }

  discard(offset: number, length: number): MaybePromise<void> {
    this.#check(offset, length);
    return this.#answer(undefined);
  }

  writeZeroes(offset: number, length: number): MaybePromise<void> {
    this.#check(offset, length);
    return this.#answer(undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** One of the requests in flight, any of them, completes or fails. */
  settleOne(): void {
    const index = this.#random.below(this.#pending.length);
    const [pending] = this.#pending.splice(index, 1);
    if (pending === undefined) return;
    if (this.#random.oneIn(5)) pending.reject(this.#failure());
    else {
      if (pending.iov !== undefined && this.writesLate) fill(pending.iov);
      pending.resolve();
    }
  }

  #answer(iov: IoVec | undefined): MaybePromise<void> {
    this.calls++;
    this.onCall();
    const random = this.#random;
    const how = random.below(16);
    if (how === 0) throw this.#failure();
    if (how < 10) {
      if (iov !== undefined) fill(iov);
      return undefined;
    }
    return new Promise((resolve, reject) => this.#pending.push({ iov, resolve, reject }));
  }

  #failure(): unknown {
    const random = this.#random;
    if (random.oneIn(4)) return random.oneIn(2) ? new TypeError('a bug of the backend') : undefined;
    return new BlockError(random.pick(['EIO', 'ENOTSUP', 'ENOSPC', 'ETIMEDOUT']), 'made up');
  }

  #length(iov: IoVec, access: number): number {
    let length = 0;
    for (let i = 0; i < iov.length; i++) {
      const problem = this.#segmentProblem(iov[i]!, access);
      if (problem !== undefined) this.problem ??= `a segment of guest memory: ${problem}`;
      length += iov[i]!.length;
    }
    return length;
  }

  #check(offset: number, length: number): void {
    if (this.quiet) this.problem ??= 'a request was started after the queue had ended';
    const ok =
      Number.isSafeInteger(offset) &&
      offset >= 0 &&
      length > 0 &&
      offset % 512 === 0 &&
      length % 512 === 0 &&
      offset + length <= this.info.size;
    if (!ok) this.problem ??= `a request for ${length} bytes at ${offset} reached the store`;
  }
}

function fill(iov: IoVec): void {
  // Length 0: the memory was taken away meanwhile.
  for (let i = 0; i < iov.length; i++) if (iov[i]!.length > 0) iov[i]!.fill(0x5a);
}
