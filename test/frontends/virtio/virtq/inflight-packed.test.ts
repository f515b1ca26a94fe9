import { describe, expect, it } from 'vitest';
import { NUM, Survivors } from './inflight-rig.ts';

const FREE_HEAD_AT = 12;
const OLD_FREE_HEAD_AT = 14;
const USED_AT = 16;
const OLD_USED_AT = 18;
const WRAP = 0x8000;
const entryAt = (entry: number): number => 32 + 32 * entry;

/** A device with three requests in flight, of 2, 1 and 3 descriptors. */
function threeInFlight() {
  const survivors = new Survivors('packed');
  const device = survivors.device();
  const ids = [survivors.add(2), survivors.add(1), survivors.add(3)] as const;
  device.pop();
  return { ...survivors, survivors, device, ids };
}

describe('the log of a packed virtqueue', () => {
  it('has the format of vhost-user, with the wrap counter in bit 15 of the used index', () => {
    const { view, log, device, ids, bytes } = threeInFlight();
    const u16 = (at: number) => view.getUint16(at, true);
    expect([u16(8), u16(10)]).toEqual([1, NUM]);
    expect([u16(FREE_HEAD_AT), u16(OLD_FREE_HEAD_AT)]).toEqual([6, 6]);
    expect([u16(USED_AT), u16(OLD_USED_AT)]).toEqual([WRAP, WRAP]);
    // The third list: entries 3, 4 and 5.
    expect(log[entryAt(3)]).toBe(1);
    expect([u16(entryAt(3) + 2), u16(entryAt(3) + 4), u16(entryAt(3) + 6)]).toEqual([4, 5, 3]);
    expect(view.getBigUint64(entryAt(3) + 8, true)).toBe(2n);
    expect(u16(entryAt(5) + 16)).toBe(ids[2]);
    expect(view.getUint32(entryAt(5) + 20, true)).toBe(bytes.get(ids[2])! / 3);
    expect(view.getBigUint64(entryAt(5) + 24, true)).toBe(0x10000n);
    device.push(ids[1]);
    device.push(ids[0]);
    device.queue.publish();
    expect([0, 2, 3].map((entry) => log[entryAt(entry)])).toEqual([0, 0, 1]);
    expect([u16(FREE_HEAD_AT), u16(OLD_FREE_HEAD_AT)]).toEqual([0, 0]);
    expect([u16(entryAt(1) + 2), u16(entryAt(2) + 2)]).toEqual([2, 6]);
    expect([u16(USED_AT), u16(OLD_USED_AT)]).toEqual([WRAP | 3, WRAP | 3]);
  });

  it('counts on past 2^32, and after a successor took over', () => {
    const { view, survivors, ids } = threeInFlight();
    view.setBigUint64(entryAt(3) + 8, 2n ** 32n - 1n, true);
    const device = survivors.device();
    const younger = survivors.add();
    expect(device.pop()).toEqual([...ids, younger]);
    expect(view.getBigUint64(entryAt(6) + 8, true)).toBe(2n ** 32n);
  });

  it('decides where the queue starts, whatever the transport says', () => {
    const { survivors, device, ids } = threeInFlight();
    for (const id of ids) device.push(id);
    device.queue.publish();
    expect(survivors.device().queue.state).toMatchObject({ avail: { index: 6 }, used: { index: 6 } });
  });

  it.each<[string, string, (s: Survivors) => void]>([
    ['of another version', 'It is of version 2.', ({ view }) => view.setUint16(8, 2, true)],
    [
      'of another size',
      'It is the log of a virtqueue of 16 entries, and this one has 8.',
      ({ view }) => view.setUint16(10, 16, true),
    ],
    [
      'whose used index is outside the ring',
      'Its used index is not in the ring.',
      ({ view }) => {
        view.setUint16(USED_AT, NUM, true);
        view.setUint16(OLD_USED_AT, NUM, true);
      },
    ],
    [
      'whose free entries go in circles',
      'Its entries are not lists.',
      ({ view }) => view.setUint16(entryAt(7) + 2, 6, true),
    ],
    [
      'that lost entries',
      'Some of its entries are neither free nor in flight.',
      ({ log }) => {
        log[entryAt(2)] = 0;
      },
    ],
    [
      'with a list that goes on too long',
      'A list of descriptors in it has no end.',
      ({ view }) => view.setUint16(entryAt(0) + 6, 3, true),
    ],
    [
      'with a list that ends elsewhere',
      'A list of descriptors in it has no end.',
      ({ view }) => view.setUint16(entryAt(0) + 4, 7, true),
    ],
    [
      'with a buffer that there is not',
      'It has buffer 8 in a ring of 8.',
      ({ view }) => view.setUint16(entryAt(2) + 16, NUM, true),
    ],
    [
      'with the same buffer twice',
      'It has the same buffer twice.',
      ({ view }) => view.setUint16(entryAt(2) + 16, view.getUint16(entryAt(1) + 16, true), true),
    ],
  ])('is refused and left as it is: one %s', (_, why, damage) => {
    const { survivors } = threeInFlight();
    damage(survivors);
    const before = survivors.log.slice();
    expect(() => survivors.device()).toThrow(
      expect.objectContaining({ code: 'virtio.bad-inflight-log', why }),
    );
    expect(survivors.log).toEqual(before);
  });
});
