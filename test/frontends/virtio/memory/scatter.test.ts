import { describe, expect, it } from 'vitest';
import { GuestMemory } from '../../../../frontends/virtio/memory/guest-memory.ts';
import { Access, Mapping } from '../../../../frontends/virtio/memory/mapping.ts';
import { Scatter } from '../../../../frontends/virtio/memory/scatter.ts';

/** Two adjacent regions of 100 bytes, and a third one after a hole. */
function scatter() {
  const regions = [0, 100, 300].map(
    (iova) => new Mapping({ iova, length: 100, access: Access.READ_WRITE, buffer: new ArrayBuffer(100) }),
  );
  return new Scatter(new GuestMemory((iova) => regions.find((r) => iova >= r.iova && iova < r.end)));
}

const lengths = (iov: Uint8Array[]): number[] => iov.map((segment) => segment.length);

describe('a scatter list', () => {
  it('joins ranges that continue each other', () => {
    const list = scatter();
    const iov: Uint8Array[] = [];
    list.begin(iov);
    for (const iova of [10, 20, 30, 50, 60]) expect(list.add(iova, 10, Access.WRITE)).toBe(true);
    list.finish();
    expect(iov.map((segment) => [segment.byteOffset, segment.length])).toEqual([
      [10, 30],
      [50, 20],
    ]);
  });

  it('keeps ranges in the order they came', () => {
    const list = scatter();
    const iov: Uint8Array[] = [];
    list.begin(iov);
    for (const iova of [20, 10, 0]) list.add(iova, 10, Access.WRITE);
    list.finish();
    expect(iov.map((segment) => segment.byteOffset)).toEqual([20, 10, 0]);
  });

  it('cuts a range where regions meet', () => {
    const list = scatter();
    const iov: Uint8Array[] = [];
    list.begin(iov);
    expect(list.add(90, 50, Access.READ)).toBe(true);
    list.finish();
    expect(lengths(iov)).toEqual([10, 40]);
  });

  it('says when a range touches a hole', () => {
    const list = scatter();
    list.begin([]);
    expect(list.add(190, 20, Access.READ)).toBe(false);
  });

  it('says when a range has a page that is absent', () => {
    const probe = (offset: number): boolean => offset < 8192;
    const buffer = new ArrayBuffer(3 * 4096);
    const mapping = new Mapping({ iova: 0, length: 3 * 4096, access: Access.READ, buffer, probe });
    const list = new Scatter(new GuestMemory(() => mapping));
    list.begin([]);
    expect(list.add(0, 8192, Access.READ)).toBe(true);
    expect(list.add(8190, 4, Access.READ)).toBe(false);
  });

  it('writes over the list of the time before, longer or shorter', () => {
    const list = scatter();
    const iov: Uint8Array[] = [];
    for (const count of [5, 1, 0, 3]) {
      list.begin(iov);
      for (let i = 0; i < count; i++) list.add(20 * i, 10, Access.READ);
      list.finish();
      expect(iov).toHaveLength(count);
    }
  });
});
