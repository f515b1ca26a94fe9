import type {
  Extent,
  IoFlags,
  IoVec,
  MaybePromise,
  ResolvedCaps,
  ResolvedDevice,
  ResolvedLimits,
} from '../api/device.ts';

// hot path: see ARCHITECTURE.md "Data plane"

/**
 * Base of every layer: hands each call on. Not `async` on purpose: four layers that return the promise they were
 * given cost 12 ns, four that await it 255.
 */
export class PassThrough implements ResolvedDevice {
  protected readonly next: ResolvedDevice;
  readonly caps: ResolvedCaps;
  readonly limits: ResolvedLimits;

  constructor(
    next: ResolvedDevice,
    changes: { readonly caps?: Partial<ResolvedCaps>; readonly limits?: Partial<ResolvedLimits> } = {},
  ) {
    this.next = next;
    this.caps = Object.freeze({ ...next.caps, ...changes.caps });
    this.limits = Object.freeze({ ...next.limits, ...changes.limits });
  }

  /** Of the device below, which may grow. */
  get size(): number {
    return this.next.size;
  }

  read(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    return this.next.read(offset, iov, flags);
  }

  write(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    return this.next.write(offset, iov, flags);
  }

  flush(flags: IoFlags): MaybePromise<void> {
    return this.next.flush(flags);
  }

  discard(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    return this.next.discard(offset, length, flags);
  }

  writeZeroes(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    return this.next.writeZeroes(offset, length, flags);
  }

  extents(offset: number, length: number): MaybePromise<readonly Extent[]> {
    return this.next.extents(offset, length);
  }

  prefetch(offset: number, length: number): MaybePromise<void> {
    return this.next.prefetch(offset, length);
  }
}
