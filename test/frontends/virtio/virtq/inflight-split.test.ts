import { describe, expect, it } from 'vitest';
import { crashPoints } from '../../../support/crash-points.ts';
import { NUM, Survivors } from './inflight-rig.ts';

const USED_AT = 4096;
const VERSION_AT = 8;
const DESC_NUM_AT = 10;
const LAST_BATCH_HEAD_AT = 12;
const USED_IDX_AT = 14;
const entryAt = (head: number): number => 16 + 16 * head;

describe('crash points', () => {
  it('is covered by these crash points: every combination of two marks and a used index', () => {
    const survivors = new Survivors('split');
    const device = survivors.device();
    const heads = [survivors.add(), survivors.add()];
    device.pop();
    for (const head of heads) device.push(head);
    const seen = crashPoints(survivors.memories, () => device.queue.publish()).map(([memory, log]) => [
      memory![(USED_AT + 2) / 2],
      ...heads.map((head) => log![entryAt(head) / 2]),
      log![USED_IDX_AT / 2],
    ]);
    expect(seen).toEqual([
      [0, 1, 1, 0],
      [2, 1, 1, 0],
      [2, 0, 1, 0],
      [2, 1, 0, 0],
      [2, 0, 0, 0],
      [2, 0, 0, 2],
    ]);
  });
});

describe('the log of a split virtqueue', () => {
  it('has the format of vhost-user', () => {
    const survivors = new Survivors('split', 7);
    const { view, log } = survivors;
    const device = survivors.device();
    expect(view.getBigUint64(0, true)).toBe(0n);
    expect(view.getUint16(VERSION_AT, true)).toBe(1);
    expect(view.getUint16(DESC_NUM_AT, true)).toBe(NUM);
    expect(view.getUint16(USED_IDX_AT, true)).toBe(7);
    const [first, second, third] = [survivors.add(), survivors.add(), survivors.add()];
    device.pop();
    expect([first, second, third].map((head) => log[entryAt(head)])).toEqual([1, 1, 1]);
    expect(view.getBigUint64(entryAt(third) + 8, true)).toBe(2n);
    device.push(second);
    device.push(first);
    expect(view.getUint16(LAST_BATCH_HEAD_AT, true)).toBe(first);
    expect(view.getUint16(entryAt(first) + 6, true)).toBe(second);
    device.queue.publish();
    expect([first, second, third].map((head) => log[entryAt(head)])).toEqual([0, 0, 1]);
    expect(view.getUint16(USED_IDX_AT, true)).toBe(9);
  });

  it('counts on past 2^32, and after a successor took over', () => {
    const survivors = new Survivors('split');
    const { view } = survivors;
    const oldest = survivors.add();
    survivors.device().pop();
    view.setBigUint64(entryAt(oldest) + 8, 2n ** 32n - 1n, true);
    const device = survivors.device();
    const younger = survivors.add();
    expect(device.pop()).toEqual([oldest, younger]);
    expect(view.getBigUint64(entryAt(younger) + 8, true)).toBe(2n ** 32n);
    view.setBigUint64(entryAt(oldest) + 8, 2n ** 33n, true);
    expect(survivors.device().pop()).toEqual([younger, oldest]);
  });

  it('decides where the queue starts, whatever the transport says', () => {
    const survivors = new Survivors('split');
    const device = survivors.device();
    for (let i = 0; i < 5; i++) {
      survivors.add();
      device.push(device.pop()[0]!);
      device.queue.publish();
      survivors.takeUsed();
    }
    // The ring of these tests says 0, as the kernel does.
    expect(survivors.device().queue.state).toEqual({ layout: 'split', availIndex: 5 });
    survivors.log.fill(0);
    expect(survivors.device().queue.state).toEqual({ layout: 'split', availIndex: 0 });
  });

  it.each<[string, string, (s: Survivors) => void]>([
    ['of another version', 'It is of version 2.', ({ view }) => view.setUint16(VERSION_AT, 2, true)],
    [
      'of another size',
      'It is the log of a virtqueue of 16 entries, and this one has 8.',
      ({ view }) => view.setUint16(DESC_NUM_AT, 16, true),
    ],
    [
      'that lists more than the driver waits for',
      'It lists 4 requests, and the driver waits for 3.',
      ({ log }) => {
        for (let head = 0; head < NUM; head++) log[entryAt(head)] = head < 4 ? 1 : 0;
      },
    ],
    [
      'of another ring',
      'The used index of the ring is not where the log left it.',
      ({ view }) => view.setUint16(USED_IDX_AT, 9, true),
    ],
    [
      'whose last batch leads out of it',
      'The batch that was given back last is not a list.',
      ({ view, ring }) => {
        view.setUint16(LAST_BATCH_HEAD_AT, NUM, true);
        ring.view.setUint16(USED_AT + 2, 1, true);
      },
    ],
    [
      'whose last batch goes in circles',
      'The batch that was given back last is not a list.',
      ({ view, ring }) => {
        view.setUint16(LAST_BATCH_HEAD_AT, 0, true);
        ring.view.setUint16(USED_AT + 2, 2, true);
      },
    ],
  ])('is refused and left as it is: one %s', (_, why, damage) => {
    const survivors = new Survivors('split');
    const device = survivors.device();
    for (let i = 0; i < 3; i++) survivors.add();
    device.pop();
    damage(survivors);
    const before = survivors.log.slice();
    expect(() => survivors.device()).toThrow(
      expect.objectContaining({ code: 'virtio.bad-inflight-log', why }),
    );
    expect(survivors.log).toEqual(before);
  });
});
