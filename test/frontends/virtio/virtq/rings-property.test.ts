import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Chain } from '../../../../frontends/virtio/virtq/chain.ts';
import { openVirtqueue } from '../../../../frontends/virtio/virtq/open-virtqueue.ts';
import type { RingLayout } from '../../../../frontends/virtio/virtq/ring-state.ts';
import type { Virtqueue } from '../../../../frontends/virtio/virtq/virtqueue.ts';
import type { Descriptor, DriverRing, RingBuilderOptions } from '../../../support/driver-ring.ts';
import { makeRing } from '../../../support/make-ring.ts';
import { wholeMemory } from '../blk/queue-rig.ts';

/**
 * Driver and device take turns in any order, one step at a time. Each sleeps when it has nothing to do, and only a
 * notification wakes it.
 */
interface Script extends RingBuilderOptions {
  readonly layout: RingLayout;
  readonly indirect: boolean;
  readonly steps: readonly Step[];
}

interface Step {
  readonly actor: 'submit' | 'driver' | 'device' | 'complete' | 'replace';
  readonly readable: number;
  readonly writable: number;
  readonly table: boolean;
  /** Split rings: descriptors before the table. */
  readonly direct: number;
  readonly pick: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  actor: fc.constantFrom('submit', 'submit', 'driver', 'device', 'device', 'complete', 'complete', 'replace'),
  readable: fc.nat(4),
  writable: fc.nat(4),
  table: fc.boolean(),
  direct: fc.nat(2),
  pick: fc.nat(),
});
const common = {
  eventIdx: fc.boolean(),
  indirect: fc.boolean(),
  steps: fc.array(step, { minLength: 1, maxLength: 300, size: 'max' }),
};
const script: fc.Arbitrary<Script> = fc.oneof(
  fc.record({
    ...common,
    layout: fc.constant('split' as const),
    num: fc.constantFrom(1, 2, 4, 8, 16, 32),
    index: fc.oneof(fc.constant(0), fc.integer({ min: 65500, max: 65535 })),
  }),
  fc.record({
    ...common,
    layout: fc.constant('packed' as const),
    num: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(2, 4, 8, 16, 32)),
    index: fc.nat(100),
  }),
);

/** What the driver has sent, by head, until it comes back. */
interface Sent {
  readonly lengths: readonly number[];
  readonly readable: number;
  taken: boolean;
  /** What the device says it has written; undefined until it has. */
  written: number | undefined;
}

class Driver {
  readonly ring: DriverRing;
  readonly sent = new Map<number, Sent>();
  kicks = 0;
  awake = true;
  /** It has found nothing and is about to sleep; the other side may come in between. */
  #tired = false;
  #length = 0;

  constructor(ring: DriverRing) {
    this.ring = ring;
  }

  submit({ readable, writable, table, direct }: Step, options: Script): void {
    const { layout, indirect } = options;
    const count = Math.max(1, Math.min(readable + writable, this.ring.num));
    const chain: Descriptor[] = Array.from({ length: count }, (_, i) => ({
      addr: this.ring.base,
      len: (this.#length++ % 1000) + 1,
      writable: i >= readable,
    }));
    const before = layout === 'split' ? Math.min(direct, count - 1) : 0;
    const slots = table && indirect ? before + 1 : count;
    if (slots > this.ring.freeDescriptors) return;
    if (this.ring.outstanding === 0) this.ring.reuseMemory();
    const head = table && indirect ? this.ring.addIndirect(chain, before) : this.ring.add(chain);
    expect(this.sent.has(head)).toBe(false);
    this.sent.set(head, {
      lengths: chain.map(({ len }) => len),
      readable: Math.min(readable, count),
      taken: false,
      written: undefined,
    });
    if (this.ring.needsKick()) this.kicks++;
  }

  step(): void {
    if (this.#tired) {
      this.#tired = false;
      this.awake = this.ring.enableInterrupts();
      return;
    }
    const used = this.ring.takeUsed();
    if (used === undefined) {
      this.#tired = true;
      return;
    }
    expect(used.written).toBe(this.sent.get(used.head)!.written);
    this.sent.delete(used.head);
  }
}

class Device {
  readonly driver: Driver;
  queue: Virtqueue;
  readonly inFlight: number[] = [];
  interrupts = 0;
  /** As `BlkQueue` does: the first look is not waited for. */
  awake = true;
  #tired = false;
  readonly #open: (from?: Virtqueue) => Virtqueue;
  readonly #chain: Chain;

  constructor(driver: Driver, { eventIdx = true, indirect }: Script) {
    const { ring } = driver;
    const memory = wholeMemory(ring);
    this.driver = driver;
    this.#open = (from) => {
      const state = from?.state ?? ring.geometry.state;
      return openVirtqueue({ ...ring.geometry, state }, memory, { eventIdx, indirect });
    };
    this.queue = this.#open();
    this.#chain = new Chain(ring.num);
  }

  step(): void {
    const chain = this.#chain;
    if (this.#tired) {
      this.#tired = false;
      this.awake = this.queue.enableKicks();
      return;
    }
    this.queue.disableKicks();
    const head = this.queue.pop(chain);
    if (head < 0) {
      expect(this.queue.brokenReason).toBeUndefined();
      this.publish();
      this.#tired = true;
      return;
    }
    const sent = this.driver.sent.get(head)!;
    expect(sent.taken).toBe(false);
    sent.taken = true;
    expect(chain.defect).toBeUndefined();
    expect([...chain.len.subarray(0, chain.count)]).toEqual(sent.lengths);
    expect(chain.readable).toBe(sent.readable);
    this.inFlight.push(head);
  }

  /** Completes a request in flight; publishes at once or later. */
  complete(pick: number): void {
    const [head] = this.inFlight.splice(pick % this.inFlight.length, 1);
    if (head === undefined) return;
    const written = pick % 3 === 0 ? 0 : pick % 5000;
    this.driver.sent.get(head)!.written = written;
    this.queue.push(head, written);
    if (pick % 2 === 0 || this.inFlight.length === 0) this.publish();
  }

  publish(): void {
    this.queue.publish();
    if (this.queue.needsInterrupt()) this.interrupts++;
  }

  /** As after a pause: a new object goes on where the old one stopped. */
  replace(): void {
    if (this.inFlight.length > 0) return;
    this.publish();
    this.queue = this.#open(this.queue);
    this.awake = true;
  }
}

function play(options: Script): void {
  const driver = new Driver(makeRing(options.layout, { memory: 2 ** 18, ...options }));
  const device = new Device(driver, options);
  const wake = () => {
    if (device.interrupts > 0) driver.awake = true;
    if (driver.kicks > 0) device.awake = true;
    device.interrupts = 0;
    driver.kicks = 0;
  };
  for (const next of options.steps) {
    wake();
    if (next.actor === 'submit') driver.submit(next, options);
    else if (next.actor === 'driver' && driver.awake) driver.step();
    else if (next.actor === 'device' && device.awake) device.step();
    else if (next.actor === 'complete') device.complete(next.pick);
    else if (next.actor === 'replace' && next.pick % 4 === 0) device.replace();
  }
  // Nothing new comes: what was sent has to come back, by notifications alone.
  for (let idle = false; !idle; ) {
    wake();
    idle = !driver.awake && !device.awake && device.inFlight.length === 0;
    if (driver.awake) driver.step();
    if (device.awake) device.step();
    device.complete(driver.sent.size);
  }
  expect(driver.sent.size).toBe(0);
  expect(driver.ring.outstanding).toBe(0);
  expect(driver.ring.freeDescriptors).toBe(options.num);
}

describe('a virtqueue of either layout', () => {
  it('hands every chain out once and gives it back once, and loses no notification', () => {
    fc.assert(fc.property(script, play), { numRuns: 500 });
  }, 120_000);
});
