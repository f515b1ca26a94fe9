import { describe, expect, it } from 'vitest';
import { Scratch } from '../../../../frontends/virtio/memory/scratch.ts';
import { Chain } from '../../../../frontends/virtio/virtq/chain.ts';
import { readChain, writeChain } from '../../../../frontends/virtio/virtq/chain-bytes.ts';
import { RingBuilder } from '../../../support/ring-builder.ts';
import { wholeMemory } from '../blk/queue-rig.ts';

/** A chain whose readable bytes count 0, 1, 2 …, cut into pieces of these lengths; the writable ones likewise. */
function setUp(readable: readonly number[], writable: readonly number[] = []) {
  const ring = new RingBuilder({ num: 16 });
  const chain = new Chain(16);
  let value = 0;
  for (const len of readable) {
    const addr = ring.allocate(len, 32);
    for (const at of ring.at(addr, len).keys()) ring.at(addr, len)[at] = value++;
    chain.add(addr, len, false);
  }
  const pieces = writable.map((len) => ({ addr: ring.allocate(len, 32), len }));
  for (const { addr, len } of pieces) chain.add(addr, len, true);
  return { ring, chain, memory: wholeMemory(ring), pieces };
}

describe('the readable bytes of a chain', () => {
  it.each([[[40]], [[16, 24]], [[1, 2, 3, 4, 5, 25]], [[15, 1, 24]]])('are one stream, cut as %j', (cut) => {
    const { chain, memory } = setUp(cut);
    for (const [start, length] of [
      [0, 16],
      [3, 30],
      [16, 24],
      [39, 1],
    ] as const) {
      const target = new Scratch(length);
      expect(readChain(chain, memory, start, length, target)).toBe(true);
      expect([...target.bytes.subarray(0, length)]).toEqual(Array.from({ length }, (_, i) => start + i));
    }
  });

  it('end where they end', () => {
    const { chain, memory } = setUp([10, 10], [10]);
    expect(readChain(chain, memory, 12, 9, new Scratch(16))).toBe(false);
  });

  it('cannot be had from an address that nothing holds', () => {
    for (const addr of [-1, 8]) {
      const { chain, memory } = setUp([4]);
      chain.add(addr, 32, false);
      expect(readChain(chain, memory, 0, 16, new Scratch(16))).toBe(false);
      expect(readChain(chain, memory, 20, 4, new Scratch(16))).toBe(false);
    }
  });
});

describe('the writable bytes of a chain', () => {
  it('are filled from their start', () => {
    const { ring, chain, memory, pieces } = setUp([16], [3, 4, 5]);
    const source = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    expect(writeChain(chain, memory, source, 8)).toBe(true);
    expect(pieces.map(({ addr, len }) => [...ring.at(addr, len)])).toEqual([
      [1, 2, 3],
      [4, 5, 6, 7],
      [8, 0, 0, 0, 0],
    ]);
  });

  it('end where they end', () => {
    const { chain, memory } = setUp([16], [3]);
    expect(writeChain(chain, memory, new Uint8Array(4), 4)).toBe(false);
  });
});
