import { describe, expect, it } from 'vitest';
import { VolumeKey } from '../../../../../backends/s3/log/encryption/volume-key.ts';
import type { LogObject } from '../../../../../backends/s3/log/log-object.ts';
import { PAGE_BLOCKS } from '../../../../../backends/s3/log/map/page-blocks.ts';
import { StoredMap } from '../../../../../backends/s3/log/map/stored-map.ts';
import { LogNames } from '../../../../../backends/s3/log/names.ts';
import { seededRandom } from '../../../../../core/util/random.ts';
import { FakeBucket, FakeStore } from '../../fake-store.ts';

const NAMES = new LogNames('a');
const PAGES = 5;
const BLOCKS = PAGES * PAGE_BLOCKS;

/** A map, what it should say, and the bucket that has its checkpoints. */
class Subject {
  readonly bucket = new FakeBucket();
  readonly #store = new FakeStore(this.bucket);
  readonly #key: VolumeKey | undefined;
  /** By block: sequence of the object and block in it, or 0. */
  expected = new Float64Array(BLOCKS);
  stored: StoredMap;
  #seq = 0;
  #number = 0;

  private constructor(stored: StoredMap, key: VolumeKey | undefined) {
    this.stored = stored;
    this.#key = key;
  }

  static async create(key: VolumeKey | undefined): Promise<Subject> {
    const store = new FakeStore(new FakeBucket());
    const subject = new Subject(await StoredMap.open({ store, names: NAMES, key }, null, 2), key);
    subject.stored = await subject.#open(null);
    return subject;
  }

  #open(ref: Parameters<typeof StoredMap.open>[1]): Promise<StoredMap> {
    return StoredMap.open({ store: this.#store, names: NAMES, key: this.#key }, ref, 2);
  }

  #object(blocks: number): LogObject {
    const place = { epoch: 1, seq: ++this.#seq };
    return this.stored.table.addStored(NAMES, place, blocks, blocks * 4096);
  }

  write(lba: number, count: number): void {
    const { id } = this.#object(count);
    this.stored.map.set(lba, count, id, 0);
    for (let i = 0; i < count; i++) this.expected[lba + i] = this.#seq * BLOCKS + i;
  }

  clear(lba: number, count: number): void {
    this.stored.map.clear(lba, count);
    this.expected.fill(0, lba, lba + count);
  }

  /** A copy of some blocks of the object that holds `lba`, as the collector makes them. */
  copy(lba: number, count: number): void {
    const from = Math.floor(this.expected[lba]! / BLOCKS);
    if (from === 0) return;
    const block = this.expected[lba]! % BLOCKS;
    const source = this.stored.table.isComplete
      ? this.stored.table.find(NAMES, { epoch: 1, seq: from })!
      : this.stored.table.learn(NAMES, { epoch: 1, seq: from }, 0, 0);
    const { id } = this.#object(count);
    this.stored.map.move(lba, count, id, 0, source.id, block);
    for (let i = 0; i < count; i++)
      if (this.expected[lba + i] === from * BLOCKS + block + i)
        this.expected[lba + i] = this.#seq * BLOCKS + i;
  }

  /** `fails`: before it counts. `meanwhile`: after it was cut. */
  async checkpoint(fails: boolean, meanwhile: () => void, together?: number): Promise<void> {
    const { stored } = this;
    await stored.knowObjects();
    await stored.prepare(together);
    const removed = [...stored.table.values()].filter(({ live }) => live === 0);
    const at = { epoch: 1, seq: this.#seq };
    const number = ++this.#number;
    const cut = stored.cut({
      epoch: 1,
      number,
      at,
      removed,
      isDurable: (object) => object.place!.seq <= at.seq,
      pinned: new Set(),
    });
    const saved = this.expected.slice();
    meanwhile();
    if (fails) {
      cut.failed();
      return;
    }
    const key = NAMES.checkpoint(1, number);
    await this.#store.put(key, cut.body);
    cut.done();
    for (const object of removed) stored.table.remove(object);
    for (const condemned of cut.condemned) this.bucket.objects.delete(condemned);
    this.ref = { key, root: cut.rootBytes, at, hash: '' };
    this.saved = saved;
  }

  ref: Parameters<typeof StoredMap.open>[1] = null;
  saved = new Float64Array(BLOCKS);

  /** As after a death: what the last checkpoint had, and no more. */
  async reopen(): Promise<void> {
    this.stored = await this.#open(this.ref);
    this.expected = this.saved.slice();
  }

  /** Everything is where it should be, and counted right. */
  async verify(where: string): Promise<void> {
    const { map, table } = this.stored;
    await this.stored.knowObjects();
    const found = new Float64Array(BLOCKS);
    const live = new Map<LogObject, number>();
    await map.eachRun(({ lba, id, block, count }) => {
      const object = table.get(id);
      live.set(object, (live.get(object) ?? 0) + count);
      for (let i = 0; i < count; i++) found[lba + i] = object.place!.seq * BLOCKS + block + i;
    });
    const wrong = found.findIndex((value, lba) => value !== this.expected[lba]);
    expect(wrong, `${where}: block ${wrong} is ${found[wrong]}, not ${this.expected[wrong]}`).toBe(-1);
    for (const object of table.values())
      expect(object.live, `${where}: live blocks of ${object.place!.seq}`).toBe(live.get(object) ?? 0);
    const pages = map.inOrder();
    expect(map.unresolvedBlocks).toBe(pages.reduce((sum, page) => sum + page.unresolvedBlocks, 0));
    expect(map.used).toBe(pages.reduce((sum, page) => sum + page.used, 0));
    expect(map.used).toBe(found.filter((value) => value !== 0).length);
  }
}

describe('a stored map', () => {
  it.each(Array.from({ length: 12 }, (_, i) => i + 1))(
    'says where blocks are, whatever of it is in memory: seed %i',
    async (seed) => {
      const random = seededRandom(seed);
      const below = (limit: number): number => Math.floor(random() * limit);
      const subject = await Subject.create(seed % 3 === 0 ? new VolumeKey(Buffer.alloc(32, 1)) : undefined);
      const change = (): void => {
        const count = below(5) === 0 ? 1 + below(2 * PAGE_BLOCKS) : 1 + below(40);
        const lba = Math.min(below(4) === 0 ? below(100) : below(BLOCKS), BLOCKS - count);
        const draw = below(10);
        if (draw < 6) subject.write(lba, count);
        else if (draw < 8) subject.copy(lba, Math.min(count, 64));
        else if (draw < 9) subject.clear(lba, count);
        else subject.clear(0, below(3) === 0 ? BLOCKS : PAGE_BLOCKS * (1 + below(PAGES)));
      };
      for (let step = 0; step < 60; step++) {
        for (let i = below(12); i > 0; i--) change();
        const draw = below(12);
        if (draw < 5) await subject.checkpoint(below(4) === 0, change);
        else if (draw < 7) subject.stored.map.trim(0);
        else if (draw < 8) await subject.reopen();
        else if (draw < 10) {
          const page = subject.stored.map.inOrder()[below(PAGES)];
          // While it is being loaded, everything goes on.
          const loading = page && subject.stored.map.needPage(page);
          change();
          if (below(2) === 0 && subject.stored.table.isComplete) await subject.checkpoint(false, change);
          await loading;
        } else await subject.verify(`seed ${seed}, step ${step}`);
      }
      await subject.checkpoint(false, () => undefined);
      await subject.reopen();
      await subject.verify(`seed ${seed}, at the end`);
    },
  );

  it('stores of a page that few blocks changed in only those', async () => {
    const subject = await Subject.create(undefined);
    for (let lba = 0; lba < BLOCKS; lba += 2) subject.write(lba, 1);
    await subject.checkpoint(false, () => undefined);
    const whole = subject.bucket.objects.get(subject.ref!.key)!.body.length;
    subject.write(7, 3);
    subject.write(PAGE_BLOCKS + 7, 3);
    await subject.checkpoint(false, () => undefined);
    expect(subject.bucket.objects.get(subject.ref!.key)!.body.length).toBeLessThan(whole / 100);
    await subject.verify('then');
  });

  it('puts a page together before it has more slices than can be counted', async () => {
    const subject = await Subject.create(undefined);
    for (let lba = 0; lba < PAGE_BLOCKS; lba += 16) subject.write(lba, 1);
    await subject.checkpoint(false, () => undefined);
    for (let round = 0; round < 300; round++) {
      await subject.reopen();
      subject.write(round, 1);
      // As a snapshot does, which takes as little time as possible.
      await subject.checkpoint(false, () => undefined, 0);
    }
    await subject.verify('in the end');
  });

  it('does not keep many checkpoints because of a little in each', async () => {
    const subject = await Subject.create(undefined);
    for (let round = 0; round < 60; round++) {
      subject.write((round % PAGES) * PAGE_BLOCKS + round, 5);
      await subject.checkpoint(false, () => undefined);
    }
    expect(subject.bucket.objects.size).toBeLessThan(12);
    await subject.verify('in the end');
  });

  it('says which object is damaged', async () => {
    const subject = await Subject.create(undefined);
    subject.write(0, 8);
    await subject.checkpoint(false, () => undefined);
    await subject.reopen();
    const object = subject.bucket.objects.get(subject.ref!.key)!;
    const body = Buffer.from(object.body);
    body[subject.ref!.root! + 24]! ^= 1;
    subject.bucket.objects.set(subject.ref!.key, { ...object, body });
    await expect(subject.stored.map.needPage(subject.stored.map.inOrder()[0]!)).rejects.toMatchObject({
      code: 'volume.corrupt',
      why: 'the checksum of a page is wrong',
    });
  });
});
