import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Chain } from '../../../../frontends/virtio/virtq/chain.ts';
import { inFlightLogBytes, isInFlightLogInUse } from '../../../../frontends/virtio/virtq/inflight.ts';
import { SplitVirtqueue } from '../../../../frontends/virtio/virtq/split.ts';
import { POP_EMPTY } from '../../../../frontends/virtio/virtq/virtqueue.ts';
import { crashPoints, type Snapshot } from '../../../support/crash-points.ts';
import { RingBuilder } from '../../../support/ring-builder.ts';
import { wholeMemory } from '../blk/queue-rig.ts';

const NUM = 8;
const USED_AT = 4096;
const VERSION_AT = 8;
const DESC_NUM_AT = 10;
const LAST_BATCH_HEAD_AT = 12;
const USED_IDX_AT = 14;
const entryAt = (head: number): number => 16 + 16 * head;

/** A ring and the log of its device, both of which outlive any number of devices. */
class Survivors {
  readonly ring: RingBuilder;
  readonly log = new Uint8Array(inFlightLogBytes(NUM));
  readonly view = new DataView(this.log.buffer);
  /** Heads that the driver waits for, in the order in which it made them available. */
  waiting: number[] = [];

  constructor(index = 0) {
    this.ring = new RingBuilder({ num: NUM, index, memory: 3 * 4096 });
  }

  get memories(): Uint8Array[] {
    return [this.ring.bytes, this.log];
  }

  device(): Device {
    return new Device(this.ring, this.ring.buffer, this.log);
  }

  add(): number {
    const head = this.ring.add([{ addr: this.ring.base, len: 16 }]);
    this.waiting.push(head);
    return head;
  }

  takeUsed(): void {
    for (const { head } of this.ring.takeAllUsed()) this.waiting.splice(this.waiting.indexOf(head), 1);
  }
}

/** A device on some memory. */
class Device {
  readonly queue: SplitVirtqueue;
  readonly chain = new Chain(NUM);
  readonly held: number[] = [];

  constructor({ geometry, base }: RingBuilder, buffer: ArrayBuffer, log: Uint8Array) {
    const memory = wholeMemory({ base, buffer });
    this.queue = new SplitVirtqueue(geometry, memory, { eventIdx: true, indirect: true }, log);
  }

  /** Takes at most `count` chains. */
  pop(count = NUM): number[] {
    const heads: number[] = [];
    for (let head = 0; heads.length < count; heads.push(head)) {
      head = this.queue.pop(this.chain);
      if (head < 0) break;
    }
    this.held.push(...heads);
    return heads;
  }

  push(head: number): void {
    this.held.splice(this.held.indexOf(head), 1);
    this.queue.push(head, 1);
  }
}

/** What the driver finds used in a snapshot that it has not taken yet. */
function publishedIn({ ring }: Survivors, [memory]: Snapshot): number[] {
  const view = new DataView(memory!.buffer);
  const heads: number[] = [];
  for (let idx = ring.usedIndex; idx !== view.getUint16(USED_AT + 2, true); idx = (idx + 1) & 0xffff)
    heads.push(view.getUint32(USED_AT + 4 + 8 * (idx % NUM), true));
  return heads;
}

/**
 * A successor on the memory of a snapshot takes what the driver still waits for, oldest first, and nothing else; and
 * when it has given everything back, in any order, the driver has got each head once.
 */
function expectRecovery(survivors: Survivors, snapshot: Snapshot, order: (heads: number[]) => void): void {
  const published = publishedIn(survivors, snapshot);
  const unanswered = survivors.waiting.filter((head) => !published.includes(head));
  const [memory, log] = snapshot.map((bytes) => bytes.slice()) as [Uint8Array<ArrayBuffer>, Uint8Array];
  const successor = new Device(survivors.ring, memory.buffer, log);
  expect(successor.pop()).toEqual(unanswered);
  expect(successor.queue.pop(successor.chain)).toBe(POP_EMPTY);
  const heads = [...unanswered];
  order(heads);
  for (const head of heads) successor.push(head);
  successor.queue.publish();
  const answered = publishedIn(survivors, [memory]);
  expect([...answered].sort()).toEqual([...survivors.waiting].sort());
  const later = new Device(survivors.ring, memory.buffer, log);
  expect(later.queue.inherited).toBe(0);
  expect(later.queue.availIndex).toBe(successor.queue.availIndex);
}

/** The same after a successor was killed while it recovered, at every point. */
function expectRecoveryOfRecovery(survivors: Survivors, snapshot: Snapshot): void {
  const [memory, log] = snapshot.map((bytes) => bytes.slice()) as [Uint8Array<ArrayBuffer>, Uint8Array];
  const successor = () => new Device(survivors.ring, memory.buffer, log).pop(1);
  for (const later of crashPoints([memory, log], successor))
    expectRecovery(survivors, later, (heads) => heads.reverse());
}

const STEPS = {
  add: (s: Survivors) => void (s.ring.freeDescriptors > 0 && s.add()),
  takeUsed: (s: Survivors) => s.takeUsed(),
};
const step = fc.oneof(
  { weight: 3, arbitrary: fc.constant({ kind: 'add' as const, n: 0 }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'takeUsed' as const, n: 0 }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('pop' as const), n: fc.integer({ min: 1, max: 3 }) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('push' as const), n: fc.nat(NUM) }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'publish' as const, n: 0 }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'succeed' as const, n: 0 }) },
);

const FIRST_ADD = { kind: 'add', n: 0 } as const;
const FIRST_DEVICE = { kind: 'succeed', n: 0 } as const;

describe('a split virtqueue whose process is killed', () => {
  it('loses no request and repeats none that was answered, at whatever store of whatever sequence', () => {
    const index = fc.constantFrom(0, 65533);
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 4, maxLength: 24 }),
        index,
        fc.boolean(),
        (steps, start, twice) => {
          const survivors = new Survivors(start);
          let device!: Device;
          for (const { kind, n } of [FIRST_ADD, FIRST_DEVICE, ...steps]) {
            if (kind === 'add' || kind === 'takeUsed') {
              STEPS[kind](survivors);
              continue;
            }
            const work = {
              pop: () => void device.pop(n),
              push: () => device.held.length > 0 && device.push(device.held[n % device.held.length]!),
              publish: () => device.queue.publish(),
              succeed: () => {
                device = survivors.device();
              },
            }[kind];
            for (const snapshot of crashPoints(survivors.memories, work)) {
              expectRecovery(survivors, snapshot, (heads) => n % 2 === 0 && heads.reverse());
              if (twice) expectRecoveryOfRecovery(survivors, snapshot);
            }
          }
        },
      ),
      { numRuns: 150 },
    );
  }, 120_000);

  it('is covered by these crash points: every combination of two marks and a used index', () => {
    const survivors = new Survivors();
    const device = survivors.device();
    const heads = [survivors.add(), survivors.add()];
    device.pop();
    for (const head of heads) device.push(head);
    const seen = crashPoints(survivors.memories, () => device.queue.publish()).map(([memory, log]) => [
      memory![USED_AT + 2],
      ...heads.map((head) => log![entryAt(head)]),
      log![USED_IDX_AT],
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
    const survivors = new Survivors(7);
    const { view, log } = survivors;
    expect(isInFlightLogInUse(log)).toBe(false);
    const device = survivors.device();
    expect(isInFlightLogInUse(log)).toBe(true);
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
    const survivors = new Survivors();
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
    const survivors = new Survivors();
    const device = survivors.device();
    for (let i = 0; i < 5; i++) {
      survivors.add();
      device.push(device.pop()[0]!);
      device.queue.publish();
      survivors.takeUsed();
    }
    survivors.ring.geometry.availIndex = 1;
    expect(survivors.device().queue.availIndex).toBe(5);
    survivors.log.fill(0);
    expect(survivors.device().queue.availIndex).toBe(1);
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
      ({ log, ring }) => {
        for (let head = 0; head < NUM; head++) log[entryAt(head)] = head < 4 ? 1 : 0;
        ring.setAvailIndex(3);
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
    const survivors = new Survivors();
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

  it('is refused when it is too small', () => {
    const { ring } = new Survivors();
    expect(() => new Device(ring, ring.buffer, new Uint8Array(16 + 16 * NUM - 1))).toThrow(
      expect.objectContaining({ code: 'virtio.bad-inflight-log' }),
    );
  });
});
