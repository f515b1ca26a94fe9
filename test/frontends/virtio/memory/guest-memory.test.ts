import { describe, expect, it } from 'vitest';
import { GuestMemory } from '../../../../frontends/virtio/memory/guest-memory.ts';
import { Access, type AccessBits, Mapping } from '../../../../frontends/virtio/memory/mapping.ts';
import { Scratch } from '../../../../frontends/virtio/memory/scratch.ts';

/** Memory of the given regions, which remembers the addresses it was asked to resolve. */
function memoryOf(regions: readonly { iova: number; length: number; access?: AccessBits }[]) {
  const resolved: number[] = [];
  const mappings: Mapping[] = [];
  const memory = new GuestMemory((iova) => {
    resolved.push(iova);
    const region = regions.find((r) => iova >= r.iova && iova < r.iova + r.length);
    if (region === undefined) return undefined;
    const mapping = new Mapping({
      access: Access.READ_WRITE,
      ...region,
      buffer: new ArrayBuffer(region.length),
    });
    mappings.push(mapping);
    return mapping;
  });
  return { memory, resolved, mappings };
}

describe('guest memory', () => {
  it('resolves each region once, on its first use', () => {
    const { memory, resolved, mappings } = memoryOf([
      { iova: 0x3000, length: 0x1000 },
      { iova: 0x1000, length: 0x1000 },
      { iova: 0x2000, length: 0x800 },
    ]);
    for (const iova of [0x3fff, 0x1000, 0x27ff, 0x3000, 0x1fff, 0x2000])
      expect(memory.lookup(iova, Access.READ)!.iova).toBe(iova & ~0xfff);
    expect(resolved).toEqual([0x3fff, 0x1000, 0x27ff]);
    expect(mappings).toHaveLength(3);
  });

  it('finds nothing in holes, and asks again, since regions may appear', () => {
    const { memory, resolved } = memoryOf([
      { iova: 0x1000, length: 0x1000 },
      { iova: 0x3000, length: 0x1000 },
    ]);
    memory.lookup(0x1000, Access.READ);
    memory.lookup(0x3000, Access.READ);
    expect(memory.lookup(0xfff, Access.READ)).toBeUndefined();
    expect(memory.lookup(0x2000, Access.READ)).toBeUndefined();
    expect(memory.lookup(0x4000, Access.READ)).toBeUndefined();
    expect(memory.lookup(0x4000, Access.READ)).toBeUndefined();
    expect(resolved.slice(2)).toEqual([0xfff, 0x2000, 0x4000, 0x4000]);
  });

  it.each([-1, Number.NaN])('holds nothing at %s, and does not ask', (iova) => {
    const { memory, resolved } = memoryOf([{ iova: 0, length: 16 }]);
    expect(memory.lookup(iova, Access.READ)).toBeUndefined();
    expect(resolved).toEqual([]);
  });

  it('grants no access a region does not have', () => {
    const { memory } = memoryOf([
      { iova: 0, length: 16, access: Access.READ },
      { iova: 16, length: 16, access: Access.WRITE },
    ]);
    expect(memory.lookup(0, Access.READ)).toBeDefined();
    expect(memory.lookup(0, Access.WRITE)).toBeUndefined();
    expect(memory.lookup(0, Access.READ_WRITE)).toBeUndefined();
    expect(memory.lookup(16, Access.WRITE)).toBeDefined();
    expect(memory.lookup(16, Access.READ)).toBeUndefined();
  });

  it('believes the newest answer where answers overlap, and forgets the older ones', () => {
    const resolved: number[] = [];
    const answers = [
      [64, 32],
      [128, 32],
      [48, 128],
      [200, 8],
    ].map(([iova, length]) => {
      const buffer = new ArrayBuffer(length!);
      return new Mapping({ iova: iova!, length: length!, access: Access.READ, buffer });
    });
    const memory = new GuestMemory((iova) => {
      resolved.push(iova);
      return answers[resolved.length - 1];
    });
    memory.lookup(64, Access.READ);
    memory.lookup(128, Access.READ);
    memory.lookup(48, Access.READ);
    for (const iova of [48, 64, 95, 96, 127, 128, 175]) {
      expect(memory.lookup(200, Access.READ)).toBe(answers[3]);
      expect(memory.lookup(iova, Access.READ)).toBe(answers[2]);
    }
    expect(resolved).toEqual([64, 128, 48, 200]);
  });

  it('finds nothing when the answer does not hold the address, and still unmaps it in the end', async () => {
    const elsewhere = new Mapping({ iova: 64, length: 16, access: Access.READ, buffer: new ArrayBuffer(16) });
    const memory = new GuestMemory(() => elsewhere);
    expect(memory.lookup(0, Access.READ)).toBeUndefined();
    await memory.retire();
    expect(elsewhere.buffer.detached).toBe(true);
  });

  it('copies across adjacent regions, both ways', () => {
    const { memory } = memoryOf([
      { iova: 0, length: 10 },
      { iova: 10, length: 3 },
      { iova: 13, length: 100 },
    ]);
    const source = Uint8Array.from({ length: 20 }, (_, i) => i + 1);
    expect(memory.write(4, 16, source, 2)).toBe(true);
    const target = new Scratch(20);
    expect(memory.read(4, 16, target, 1)).toBe(true);
    expect(target.bytes.subarray(1, 17)).toEqual(source.subarray(2, 18));
  });

  it('does not touch a page that is absent', () => {
    const buffer = new ArrayBuffer(8192);
    const probe = (offset: number): boolean => offset === 0;
    const memory = new GuestMemory(
      () => new Mapping({ iova: 0, length: 8192, access: Access.READ_WRITE, buffer, probe }),
    );
    expect(memory.write(4090, 6, Uint8Array.of(1, 2, 3, 4, 5, 6), 0)).toBe(true);
    expect(memory.write(4092, 6, Uint8Array.of(9, 9, 9, 9, 9, 9), 0)).toBe(false);
    expect(memory.read(4090, 6, new Scratch(8), 0)).toBe(true);
    expect(memory.read(4090, 7, new Scratch(8), 0)).toBe(false);
    expect([...new Uint8Array(buffer, 4090, 8)]).toEqual([1, 2, 3, 4, 5, 6, 0, 0]);
  });

  it('does not copy over a hole', () => {
    const { memory } = memoryOf([
      { iova: 0, length: 8 },
      { iova: 9, length: 8 },
    ]);
    expect(memory.read(4, 8, new Scratch(8), 0)).toBe(false);
    expect(memory.write(4, 8, new Uint8Array(8), 0)).toBe(false);
  });
});

describe('a retired generation of guest memory', () => {
  it('grants nothing, asks nobody, and can be pinned no more', async () => {
    const { memory, resolved } = memoryOf([{ iova: 0, length: 16 }]);
    memory.lookup(0, Access.READ);
    await memory.retire();
    expect(memory.lookup(0, Access.READ)).toBeUndefined();
    expect(resolved).toEqual([0]);
    expect(() => memory.pin()).toThrow(/retired/);
  });

  it('is unmapped when the last pin is gone, and not before', async () => {
    const { memory, mappings } = memoryOf([{ iova: 0, length: 16 }]);
    const view = memory.lookup(0, Access.READ)!.segment(0, 16);
    memory.pin();
    memory.pin();
    let unmapped = false;
    const retired = memory.retire().then(() => {
      unmapped = true;
    });
    memory.unpin();
    await Promise.resolve();
    expect(unmapped).toBe(false);
    expect(view.length).toBe(16);
    memory.unpin();
    await retired;
    expect(view.length).toBe(0);
    expect(mappings[0]!.buffer.detached).toBe(true);
  });

  it('unmaps each region once, however often it is retired', async () => {
    let unmapped = 0;
    const buffer = new ArrayBuffer(16);
    const unmap = () => void unmapped++;
    const memory = new GuestMemory(
      () => new Mapping({ iova: 0, length: 16, access: Access.READ, buffer, unmap }),
    );
    memory.lookup(0, Access.READ);
    await Promise.all([memory.retire(), memory.retire()]);
    expect(unmapped).toBe(1);
  });

  it('unmaps the rest when one region fails, and reports that one', async () => {
    const buffers = [new ArrayBuffer(16), new ArrayBuffer(16)];
    const failing = () => {
      throw new Error('munmap: EINVAL');
    };
    const memory = new GuestMemory((iova) => {
      const first = iova < 16;
      const range = {
        iova: first ? 0 : 16,
        length: 16,
        access: Access.READ,
        buffer: buffers[first ? 0 : 1]!,
      };
      return new Mapping(first ? { ...range, unmap: failing } : range);
    });
    memory.lookup(0, Access.READ);
    memory.lookup(16, Access.READ);
    await expect(memory.retire()).rejects.toThrow('guest memory could not be unmapped');
    expect(buffers[1]!.detached).toBe(true);
  });

  it('notices an unpin too many', () => {
    const { memory } = memoryOf([]);
    memory.pin();
    memory.unpin();
    expect(() => memory.unpin()).toThrow(/not pinned/);
  });
});
