import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { IoFlags, IoVec } from '../../../core/api/device.ts';
import { copyIn, copyOut, iovLength } from '../../../core/util/iov.ts';
import type { RingLayout } from '../../../frontends/virtio/virtq/ring-state.ts';
import { FakeDevice } from '../../support/fake-device.ts';
import { LAYOUTS } from '../../support/make-ring.ts';
import { Rig, turns } from './rig.ts';

const SECTOR = 512;
const SECTORS = 64;

interface Pending {
  readonly offset: number;
  /** Has the effect, once or more often. */
  execute(): void;
  /** Tells the queue. */
  answer(): void;
}

/** A store that takes and answers in any order, and from which a process can be cut off between effect and answer. */
class SlowStore extends FakeDevice {
  pending: Pending[] = [];
  /** False: answers at once, as the partition scan needs it. */
  slow = false;
  /** Called for each request as it arrives. */
  onRequest: (offset: number) => void = () => {};

  override read(offset: number, iov: IoVec, _flags: IoFlags) {
    return this.#take(offset, () => copyIn(iov, this.data.subarray(offset, offset + iovLength(iov))));
  }

  override write(offset: number, iov: IoVec, _flags: IoFlags) {
    const bytes = new Uint8Array(iovLength(iov));
    copyOut(iov, bytes);
    return this.#take(offset, () => this.data.set(bytes, offset));
  }

  #take(offset: number, execute: () => void): Promise<void> | undefined {
    this.onRequest(offset);
    if (!this.slow) return void execute();
    return new Promise((resolve) => this.pending.push({ offset, execute, answer: resolve }));
  }
}

interface Sent {
  readonly head: number;
  readonly offset: number;
}

/** A driver and what it may expect, with a process at the other side that can be killed. */
class Story {
  readonly store = new SlowStore({ size: 2 ** 20, caps: { concurrency: 'parallel' } });
  readonly rig: Rig;
  /** What the driver waits for, in the order in which it asked. */
  waiting: Sent[] = [];
  /** What arrived at the store since the last process started. */
  readonly arrived: number[] = [];
  readonly #model: Uint8Array;
  readonly #problems: string[] = [];

  constructor(ring: RingLayout) {
    this.rig = new Rig({ store: this.store, config: { ring } });
    this.#model = this.store.data.slice();
    this.store.onRequest = (offset) => {
      this.arrived.push(offset);
      // Nothing that was answered is carried out again: its place may be somebody else's by now.
      if (this.store.slow && !this.unanswered().includes(offset))
        this.#problems.push(`${offset} comes again`);
    };
  }

  async start(): Promise<void> {
    await this.rig.attach();
    this.store.slow = true;
    this.arrived.length = 0;
  }

  /** One request at a time for each place: what overlaps and is in flight at once has no defined order. */
  submit(write: boolean, sector: number, sectors: number, fill: number): void {
    const offset = sector * SECTOR;
    const length = sectors * SECTOR;
    const { driver } = this.rig;
    if (driver.ring.freeDescriptors === 0 || this.waiting.some((sent) => sent.offset === offset)) return;
    const data = new Uint8Array(length).fill(fill);
    if (write) this.#model.set(data, offset);
    const request = write
      ? driver.blk.write(sector, data, { indirect: true })
      : driver.blk.read(sector, length, { indirect: true });
    const expected = write ? undefined : this.#model.slice(offset, offset + length);
    const sent: Sent = { head: request.head, offset };
    this.waiting.push(sent);
    void driver.submit(request).then(({ status, data: found }) => {
      this.waiting.splice(this.waiting.indexOf(sent), 1);
      if (status !== 0) this.#problems.push(`sector ${sector}: status ${status}`);
      if (expected && Buffer.compare(found, expected) !== 0)
        this.#problems.push(`sector ${sector}: wrong bytes`);
    });
  }

  /** Offsets of requests whose completion the driver cannot see yet, in the order in which it asked. */
  unanswered(): number[] {
    const untaken = this.rig.driver.ring.untakenHeads;
    return this.waiting.filter(({ head }) => !untaken.includes(head)).map(({ offset }) => offset);
  }

  async turn(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** `effects`: what of that in flight has had its effect by then, as bits. */
  async kill(effects: number): Promise<void> {
    // Whatever the process has begun in this turn it does; it is killed between two.
    await this.turn();
    this.rig.kill();
    for (const [index, { execute }] of this.store.pending.splice(0).entries())
      if ((effects >> index) & 1) execute();
    this.arrived.length = 0;
  }

  async restart(): Promise<void> {
    const unanswered = this.unanswered();
    await this.rig.attach();
    expect(this.arrived.slice(0, unanswered.length)).toEqual(unanswered);
  }

  /** Lets everything be answered, and compares. */
  async end(): Promise<void> {
    await turns(() => {
      for (const { execute, answer } of this.store.pending.splice(0)) {
        execute();
        answer();
      }
      return this.waiting.length === 0;
    });
    this.store.slow = false;
    expect(this.#problems).toEqual([]);
    expect(Buffer.compare(this.store.data, this.#model)).toBe(0);
  }
}

const request = fc.record({
  write: fc.boolean(),
  sector: fc.nat(SECTORS / 4 - 1).map((n) => 4 * n),
  sectors: fc.integer({ min: 1, max: 4 }),
  fill: fc.integer({ min: 1, max: 255 }),
});
type Request = typeof request extends fc.Arbitrary<infer T> ? T : never;
type Step = (story: Story) => void | Promise<void>;

const submit = (story: Story, { write, sector, sectors, fill }: Request): void =>
  story.submit(write, sector, sectors, fill);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: request.map(
      (r): Step =>
        (story) =>
          submit(story, r),
    ),
  },
  {
    weight: 5,
    arbitrary: fc.nat().map(
      (n): Step =>
        ({ store }) => {
          const [chosen] = store.pending.splice(n % Math.max(1, store.pending.length), 1);
          chosen?.execute();
          chosen?.answer();
        },
    ),
  },
  { weight: 2, arbitrary: fc.constant<Step>((story) => story.turn()) },
  {
    weight: 1,
    arbitrary: fc.record({ effects: fc.nat(0xffff), meanwhile: fc.array(request, { maxLength: 3 }) }).map(
      ({ effects, meanwhile }): Step =>
        async (story) => {
          await story.kill(effects);
          for (const r of meanwhile) submit(story, r);
          await story.restart();
        },
    ),
  },
);

describe.each(LAYOUTS)('a disk with %s rings whose process is killed again and again', (ring) => {
  it('answers every request once, resumes the oldest first, and repeats nothing that was answered', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
        const story = new Story(ring);
        await using _rig = story.rig;
        await story.start();
        for (const each of steps) await each(story);
        await story.kill(0);
        await story.restart();
        await story.end();
      }),
      { numRuns: 40 },
    );
  }, 120_000);
});
