import { describe, expect, it } from 'vitest';
import { s3Config } from '../../../../backends/s3/config.ts';
import { qualifyStore } from '../../../../backends/s3/qualify/qualify.ts';
import type { ObjectStore, PutOptions } from '../../../../backends/s3/store/object-store.ts';
import { StoreError } from '../../../../backends/s3/store/store-error.ts';
import { FakeBucket, FakeStore } from '../fake-store.ts';
import { context, HASTE } from '../harness.ts';

const config = s3Config.parse({ bucket: 'bucket', prefix: 'disks/a' });
const qualify = (store: ObjectStore, giveUpAfterMs = 50) =>
  qualifyStore(store, config, context(), { ...HASTE, giveUpAfterMs });

const SAFE = ['log', 'chunk', 'image'].map((layout) => ({
  severity: 'ok',
  summary: `the layout "${layout}" is safe there`,
}));
const UNSAFE = [expect.objectContaining({ severity: 'error', summary: 'no layout is safe there' })];
const UNFENCED = [
  expect.objectContaining({
    severity: 'error',
    summary: 'the layout "log" is not safe there: nothing keeps two gateways on one volume apart',
  }),
  expect.objectContaining({
    severity: 'warning',
    summary: expect.stringContaining('the layout "chunk" is there only with "unsafeNoFence"'),
  }),
  SAFE[2],
];

/** A store whose `put` may be interfered with: what `put` throws or returns, unless that is undefined. */
class Peculiar extends FakeStore {
  readonly #instead: (key: string, options: PutOptions) => string | undefined;

  constructor(bucket: FakeBucket, instead: (key: string, options: PutOptions) => string | undefined) {
    super(bucket);
    this.#instead = instead;
  }

  override async put(key: string, body: Uint8Array, options: PutOptions = {}, signal?: AbortSignal) {
    return this.#instead(key, options) ?? (await super.put(key, body, options, signal));
  }
}

const conflict = () => new StoreError('conflict', 'ConditionalRequestConflict', { status: 409 });

describe.concurrent('the qualification of a store', () => {
  it('finds nothing wrong with one that does what it should, and leaves nothing there', async () => {
    const bucket = new FakeBucket();
    const store = new FakeStore(bucket);
    const findings = await qualify(store);
    expect(findings.filter(({ severity }) => severity !== 'ok')).toEqual([]);
    expect(findings.slice(-3)).toEqual(SAFE);
    // Of the creations whose answer is lost, one half had taken place.
    expect(findings).toContainEqual({
      severity: 'ok',
      summary: expect.stringMatching(/one succeeds; 12 answers were lost, and 6 objects were there/),
    });
    expect(bucket.objects.size).toBe(0);
    expect(store.disposed).toBe(1);
  });

  it('finds that conditions mean nothing', async () => {
    const bucket = new FakeBucket();
    bucket.conditional = false;
    const findings = await qualify(new FakeStore(bucket));
    expect(findings.filter(({ severity }) => severity === 'error').map(({ summary }) => summary)).toEqual([
      expect.stringContaining('16 succeeded'),
      expect.stringContaining('16 succeeded'),
      expect.stringContaining('it was'),
      expect.stringContaining('it was replaced'),
      expect.stringContaining('it succeeded twice'),
      expect.stringContaining('the layout "log" is not safe'),
    ]);
    expect(findings.slice(-3)).toEqual(UNFENCED);
    expect(bucket.objects.size).toBe(0);
  });

  it('finds that conditions are answered with an error', async () => {
    const bucket = new FakeBucket();
    bucket.unsupported = 501;
    expect((await qualify(new FakeStore(bucket))).slice(-3)).toEqual(UNFENCED);
    expect(bucket.objects.size).toBe(0);
  });

  it('finds that more than one creation succeeds', async () => {
    const bucket = new FakeBucket();
    class Careless extends FakeStore {
      override put(key: string, body: Uint8Array, options: PutOptions = {}, signal?: AbortSignal) {
        const { condition: _, ...rest } = options;
        return super.put(key, body, key.endsWith('/0') ? rest : options, signal);
      }
    }
    expect((await qualify(new Careless(bucket))).slice(-3)).toEqual(UNFENCED);
  });

  it('asks again after a 409, which decides nothing', async () => {
    const bucket = new FakeBucket();
    let conflicts = 0;
    // Of writers that are under way at once, all but one are told so the first time.
    const busy = new Map<string, number>();
    const store = new Peculiar(bucket, (key, { condition }) => {
      const before = busy.get(key) ?? 0;
      busy.set(key, before + 1);
      if (condition === undefined || before % 2 === 0) return undefined;
      conflicts++;
      throw conflict();
    });
    const findings = await qualify(store, 30_000);
    expect(findings.filter(({ severity }) => severity !== 'ok')).toEqual([]);
    expect(conflicts).toBeGreaterThan(100);
  });

  it.each([
    ['writes all the same', true],
    ['means that the condition does not hold', false],
  ])('finds that a 409 %s', async (_what, writes) => {
    const bucket = new FakeBucket();
    const store: Peculiar = new Peculiar(bucket, (key, { condition }) => {
      if (condition === undefined) return undefined;
      if (condition === 'absent' && !bucket.objects.has(key) && !writes) return undefined;
      if (writes)
        bucket.objects.set(key, { body: Buffer.from('x'), info: { etag: '"x"', size: 1, metadata: {} } });
      throw conflict();
    });
    expect((await qualify(store)).slice(-3)).toEqual(UNFENCED);
  });

  it('finds that a creation whose answer was lost comes late, and succeeds as well', async () => {
    const bucket = new FakeBucket();
    class Late extends FakeStore {
      override async putAs(...[key, body, sent, options, signal]: Parameters<FakeStore['putAs']>) {
        if (signal !== undefined)
          setTimeout(() => {
            const info = { etag: '"late"', size: body.length, metadata: options?.metadata ?? {} };
            bucket.objects.set(key, { body: Buffer.from(body), info });
          }, 20);
        return await super.putAs(key, body, sent, options, signal);
      }
    }
    const findings = await qualify(new Late(bucket));
    expect(findings).toContainEqual({
      severity: 'error',
      summary: expect.stringMatching(/^not so: .*the first came late, and succeeded as well$/),
    });
    expect(findings.slice(-3)).toEqual(UNFENCED);
    expect(bucket.objects.size).toBe(0);
  });

  it('warns of a store that does not verify checksums', async () => {
    const bucket = new FakeBucket();
    bucket.verifies = false;
    const findings = await qualify(new FakeStore(bucket));
    expect(findings.filter(({ severity }) => severity !== 'ok')).toEqual([
      {
        severity: 'warning',
        summary: 'not so: an upload whose checksum is wrong is refused; it was stored',
        fix: expect.stringContaining('https'),
      },
    ]);
    expect(findings.slice(-3)).toEqual(SAFE);
    expect(bucket.objects.size).toBe(0);
  });

  it('finds that an upload which is refused is stored all the same', async () => {
    const bucket = new FakeBucket();
    class Muddled extends FakeStore {
      override async putAs(...[key, body, sent, options, signal]: Parameters<FakeStore['putAs']>) {
        if (sent instanceof Uint8Array) await this.put(key, sent, options);
        return await super.putAs(key, body, sent, options, signal);
      }
    }
    expect((await qualify(new Muddled(bucket))).slice(-1)).toEqual(UNSAFE);
    expect(bucket.objects.size).toBe(0);
  });

  it('finds that what came of an upload which broke off is kept', async () => {
    const bucket = new FakeBucket();
    bucket.keepsParts = true;
    const findings = await qualify(new FakeStore(bucket));
    expect(findings).toContainEqual({
      severity: 'error',
      summary: expect.stringContaining('a part of it was there'),
    });
    expect(findings.slice(-1)).toEqual(UNSAFE);
    expect(bucket.objects.size).toBe(0);
  });

  it('finds that a store shows what was there before', async () => {
    const bucket = new FakeBucket();
    const before = new Map<string, Uint8Array<ArrayBuffer>>();
    class Stale extends FakeStore {
      override async get(key: string, maxBytes: number, signal?: AbortSignal) {
        const now = await super.get(key, maxBytes, signal);
        const body = before.get(key);
        if (now !== undefined) before.set(key, now.body);
        return now && { ...now, body: body ?? now.body };
      }
    }
    expect((await qualify(new Stale(bucket))).slice(-1)).toEqual(UNSAFE);
  });

  it('says what it cannot try without uploads that fail', async () => {
    const store: ObjectStore = Object.assign(new FakeStore(new FakeBucket()), { putAs: undefined });
    const findings = await qualify(store);
    expect(findings.filter(({ severity }) => severity !== 'ok')).toEqual([
      { severity: 'warning', summary: expect.stringContaining('uploads that fail could not be tried') },
    ]);
  });

  it('says what it could not remove', async () => {
    const bucket = new FakeBucket();
    class Undeletable extends FakeStore {
      override deleteMany(keys: readonly string[], signal?: AbortSignal) {
        if (keys.length === 1) return super.deleteMany(keys, signal);
        return Promise.resolve([{ key: keys[0]!, reason: 'AccessDenied' }]);
      }
    }
    const findings = await qualify(new Undeletable(bucket));
    expect(findings).toContainEqual({
      severity: 'warning',
      summary: expect.stringContaining('could not be deleted'),
      fix: expect.stringMatching(/^Delete the objects under disks\/a-qualify-.*\/\.$/),
    });
    expect(findings.slice(-3)).toEqual(SAFE);
  });
});
