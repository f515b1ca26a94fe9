import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { inFlightLogBytes, isInFlightLogInUse } from '../../../../frontends/virtio/virtq/inflight.ts';
import { POP_EMPTY } from '../../../../frontends/virtio/virtq/virtqueue.ts';
import { crashPoints, type Snapshot } from '../../../support/crash-points.ts';
import { LAYOUTS } from '../../../support/make-ring.ts';
import { Device, NUM, Survivors } from './inflight-rig.ts';

const copyOf = (snapshot: Snapshot): [Uint8Array<ArrayBuffer>, Uint8Array] => {
  const [memory, log] = snapshot.map((units) => new Uint8Array(units.slice().buffer));
  return [memory!, log!];
};

/**
 * A successor on the memory of a snapshot takes what the driver still waits for, oldest first, and nothing else; and
 * when it gives it back, in any order, the driver gets each head once and none before.
 */
function expectRecovery(survivors: Survivors, snapshot: Snapshot, youngestFirst: boolean): void {
  const { ring, waiting, bytes } = survivors;
  const [memory, log] = copyOf(snapshot);
  const answered = ring.untakenIn(memory);
  const unanswered = waiting.filter((head) => !answered.includes(head));
  const successor = new Device(ring, memory.buffer, log);
  expect(successor.pop(NUM, bytes)).toEqual(unanswered);
  expect(successor.queue.pop(successor.chain)).toBe(POP_EMPTY);
  for (const head of youngestFirst ? unanswered.toReversed() : unanswered) {
    successor.push(head);
    successor.queue.publish();
    answered.push(head);
    expect(ring.untakenIn(memory)).toEqual(answered);
  }
  const later = new Device(ring, memory.buffer, log);
  expect(later.queue.inherited).toBe(0);
  expect(later.queue.state).toEqual(successor.queue.state);
}

/** The same after a successor was killed while it recovered, at every point. */
function expectRecoveryOfRecovery(survivors: Survivors, snapshot: Snapshot): void {
  const [memory, log] = copyOf(snapshot);
  const recover = () => void new Device(survivors.ring, memory.buffer, log);
  for (const later of crashPoints([memory, log], recover)) expectRecovery(survivors, later, true);
}

/** Of the crash points, one of so many is followed by a second crash. */
const EVERY = 8;

interface Step {
  readonly kind: 'add' | 'takeUsed' | 'pop' | 'push' | 'publish' | 'succeed';
  readonly n: number;
  /** The process ends in this step, at one of its crash points. */
  readonly crash?: number | undefined;
}
const crash = fc.oneof({ weight: 8, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fc.nat() });
const only = (kind: Step['kind'], n: fc.Arbitrary<number> = fc.constant(0)): fc.Arbitrary<Step> =>
  fc.record({ kind: fc.constant(kind), n, crash });
const step = fc.oneof(
  { weight: 4, arbitrary: only('add', fc.integer({ min: 1, max: 3 })) },
  { weight: 2, arbitrary: only('takeUsed') },
  { weight: 2, arbitrary: only('pop', fc.integer({ min: 1, max: 3 })) },
  { weight: 3, arbitrary: only('push', fc.nat(NUM)) },
  { weight: 2, arbitrary: only('publish') },
  { weight: 1, arbitrary: only('succeed') },
);

/** What the device does in a step; undefined when it is the driver's. */
function deviceWork({ kind, n }: Step, device: Device, succeed: () => void): (() => void) | undefined {
  switch (kind) {
    case 'pop':
      return () => void device.pop(n);
    case 'push':
      return () => device.held.length > 0 && device.push(device.held[n % device.held.length]!);
    case 'publish':
      return () => device.queue.publish();
    case 'succeed':
      return succeed;
    default:
      return undefined;
  }
}

describe.each(LAYOUTS)('a %s virtqueue whose process is killed', (layout) => {
  it('loses no request and repeats none that was answered, at whatever store of whatever sequence', () => {
    const index = fc.constantFrom(0, 65533, NUM - 2);
    const steps = fc.array(step, { minLength: 4, maxLength: 40 });
    fc.assert(
      fc.property(steps, index, fc.nat(EVERY - 1), (chosen, start, again) => {
        const survivors = new Survivors(layout, start);
        let device!: Device;
        const succeed = () => {
          device = survivors.device();
        };
        const first: Step[] = [
          { kind: 'add', n: 1 },
          { kind: 'succeed', n: 0 },
        ];
        for (const each of [...first, ...chosen]) {
          const work = deviceWork(each, device, succeed);
          if (work === undefined) {
            if (each.kind === 'takeUsed') survivors.takeUsed();
            else if (survivors.ring.freeDescriptors >= each.n) survivors.add(each.n);
            continue;
          }
          const snapshots = crashPoints(survivors.memories, work);
          for (const [i, snapshot] of snapshots.entries()) {
            expectRecovery(survivors, snapshot, each.n % 2 === 0);
            if (i % EVERY === again) expectRecoveryOfRecovery(survivors, snapshot);
          }
          if (each.crash === undefined) continue;
          const contents = copyOf(snapshots[each.crash % snapshots.length]!);
          for (const [which, memory] of survivors.memories.entries()) memory.set(contents[which]!);
          succeed();
        }
      }),
      { numRuns: 200 },
    );
  }, 120_000);
});

describe.each(LAYOUTS)('the log of a %s virtqueue', (layout) => {
  it('says whether it is in use', () => {
    const survivors = new Survivors(layout);
    expect(isInFlightLogInUse(survivors.log)).toBe(false);
    survivors.device();
    expect(isInFlightLogInUse(survivors.log)).toBe(true);
  });

  it('is refused when it is too small', () => {
    const { ring } = new Survivors(layout);
    expect(() => new Device(ring, ring.buffer, new Uint8Array(16 + 16 * NUM - 1))).toThrow(
      expect.objectContaining({ code: 'virtio.bad-inflight-log' }),
    );
  });

  it('has to be as large as `inFlightLogBytes` says, at most', () => {
    const { ring } = new Survivors(layout);
    expect(() => new Device(ring, ring.buffer, new Uint8Array(inFlightLogBytes(NUM)))).not.toThrow();
  });
});
