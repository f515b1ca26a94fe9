import type { IoVec } from '../api/device.ts';
import { BlockError } from '../api/errors.ts';

/** Arithmetic on scatter/gather lists. All of it without copying, except `copyIn` and `copyOut`. */

export function iovLength(iov: IoVec): number {
  let total = 0;
  for (const segment of iov) total += segment.length;
  return total;
}

/** The part [start, start + length) of `iov`, as views of the same memory. */
export function iovSlice(iov: IoVec, start: number, length: number): Uint8Array[] {
  const out: Uint8Array[] = [];
  let skip = start;
  let left = length;
  for (const segment of iov) {
    if (left === 0) break;
    if (skip >= segment.length) {
      skip -= segment.length;
      continue;
    }
    const take = Math.min(segment.length - skip, left);
    out.push(skip === 0 && take === segment.length ? segment : segment.subarray(skip, skip + take));
    left -= take;
    skip = 0;
  }
  return out;
}

/** Copies `source` into `iov`, from byte `start` of the list on. Throws ESHUTDOWN as `copyOut` does. */
export function copyIn(iov: IoVec, source: Uint8Array, start = 0): void {
  let from = 0;
  for (const target of iovSlice(iov, start, source.length)) {
    target.set(source.subarray(from, from + target.length));
    from += target.length;
  }
  if (from < source.length) throw memoryGone();
}

/**
 * Copies the part of `iov` that starts at byte `start` into all of `target`. Throws ESHUTDOWN when there is less: a reset
 * takes the memory away from requests that are late, and what was not copied must not be taken for data.
 */
export function copyOut(iov: IoVec, target: Uint8Array, start = 0): void {
  let to = 0;
  for (const source of iovSlice(iov, start, target.length)) {
    target.set(source, to);
    to += source.length;
  }
  if (to < target.length) throw memoryGone();
}

const memoryGone = (): BlockError =>
  new BlockError('ESHUTDOWN', 'the memory of the request was taken away before it was carried out');

/** Fills the part [start, start + length) of `iov` with zeros. */
export function fillZero(iov: IoVec, start: number, length: number): void {
  for (const segment of iovSlice(iov, start, length)) segment.fill(0);
}
