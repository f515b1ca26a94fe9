// hot path: see ARCHITECTURE.md "Data plane"

import type { GuestMemory } from '../memory/guest-memory.ts';
import type { Scratch } from '../memory/scratch.ts';
import type { Chain } from './chain.ts';

/**
 * A chain as two streams of bytes, one to read and one to write. Where descriptors begin and end means nothing
 * (VIRTIO 1.3, 2.7.4.2): a header may be spread over several.
 */

/** Copies readable bytes [start, start + length) to the start of `target`. False: not all there, or not mapped. */
export function readChain(
  chain: Chain,
  memory: GuestMemory,
  start: number,
  length: number,
  target: Scratch,
): boolean {
  if (chain.readable > 0 && start + length <= chain.len[0]!) {
    const addr = chain.addr[0]!;
    return addr >= 0 && memory.read(addr + start, length, target, 0);
  }
  let skip = start;
  let done = 0;
  for (let i = 0; i < chain.readable && done < length; i++) {
    const len = chain.len[i]!;
    if (skip >= len) {
      skip -= len;
      continue;
    }
    const take = Math.min(len - skip, length - done);
    const addr = chain.addr[i]!;
    if (addr < 0 || !memory.read(addr + skip, take, target, done)) return false;
    done += take;
    skip = 0;
  }
  return done === length;
}

/** Copies `length` bytes of `source` to the start of the writable part. False: not all mapped. */
export function writeChain(chain: Chain, memory: GuestMemory, source: Uint8Array, length: number): boolean {
  let done = 0;
  for (let i = chain.readable; i < chain.count && done < length; i++) {
    const take = Math.min(chain.len[i]!, length - done);
    const addr = chain.addr[i]!;
    if (addr < 0 || !memory.write(addr, take, source, done)) return false;
    done += take;
  }
  return done === length;
}
