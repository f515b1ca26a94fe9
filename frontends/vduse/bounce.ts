import { GatewayError } from '../../core/api/errors.ts';
import { formatSize } from '../../core/util/size.ts';
import type { BlkLimits } from '../virtio/blk/limits.ts';

const MIB = 2 ** 20;
/** What the kernel gives a device that asks for nothing else; bytes. */
const DEFAULT_BOUNCE = 64 * MIB;
/** Beside its data a request has a header, a status and an indirect table; and page 0 is never handed out. */
const FRAMING_SLOTS = 4;

/**
 * Bounce memory that holds any one request when nothing else is in it; bytes.
 *
 * The kernel hands out addresses in powers of two, aligned to their size. In the worst order every piece of a request,
 * however small, spoils a place for the largest; so each is counted as large as that. Requests beside it do not count:
 * the driver maps all of a request or nothing, and tries again when one of the others is done.
 */
export function requiredBounce({ sizeMax, segMax }: BlkLimits): number {
  return (segMax + FRAMING_SLOTS) * 2 ** Math.ceil(Math.log2(sizeMax));
}

/**
 * Throws `vduse.bounce-too-small` when a request could find no place in the bounce memory ever: the driver would then
 * try for ever, without an error or a line in any log. `size` in bytes; undefined: what the kernel gives.
 */
export function checkBounce(limits: BlkLimits, size: number = DEFAULT_BOUNCE): void {
  const required = requiredBounce(limits);
  if (size >= required) return;
  const { segMax, sizeMax } = limits;
  const raise = `Raise "bounceSize" to ${formatSize(Math.ceil(required / MIB) * MIB)}`;
  // A request has two segments less than the queue has entries, at most.
  const queueSize = segMax - Math.ceil((required - size) / sizeMax) + 2;
  throw new GatewayError(
    'vduse.bounce-too-small',
    `Bounce memory of ${formatSize(size)} cannot hold every request of this disk.`,
    {
      why: `A request may have ${segMax} segments of ${formatSize(sizeMax)}. One that finds no place for all of them hangs for ever.`,
      fix: queueSize < 3 ? `${raise}.` : `${raise}, or lower "queueSize" to ${queueSize} or less.`,
    },
  );
}
