import { describe, expect, it } from 'vitest';
import { s3Config } from '../../../backends/s3/config.ts';
import { withStore } from '../../../backends/s3/operation.ts';
import { qualifyStore } from '../../../backends/s3/qualify.ts';
import type { PutOptions } from '../../../backends/s3/store/object-store.ts';
import { FakeBucket, FakeStore } from './fake-store.ts';
import { context } from './harness.ts';

/** Creates objects whether they are there or not, sometimes. */
class Careless extends FakeStore {
  override put(
    key: string,
    body: Uint8Array,
    options: PutOptions = {},
    signal?: AbortSignal,
  ): Promise<string> {
    const { condition, ...rest } = options;
    return super.put(key, body, key.endsWith('/0') || condition === undefined ? rest : options, signal);
  }
}

const config = s3Config.parse({ bucket: 'bucket', prefix: 'disks/a' });
const qualify = (store: FakeStore) => withStore(store, config, context(), qualifyStore);

describe('the qualification of a store', () => {
  it('finds nothing wrong with one that does what it should, and leaves nothing there', async () => {
    const bucket = new FakeBucket();
    const findings = await qualify(new FakeStore(bucket));
    expect(findings.filter(({ severity }) => severity !== 'ok')).toEqual([]);
    expect(findings.at(-1)!.summary).toContain('both layouts are safe');
    expect(bucket.objects.size).toBe(0);
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
      expect.stringContaining('nothing keeps two gateways on one volume apart'),
    ]);
    expect(bucket.objects.size).toBe(0);
  });

  it('finds that more than one creation succeeds', async () => {
    const bucket = new FakeBucket();
    const store = new Careless(bucket);
    const findings = await qualify(store);
    expect(findings.at(-1)!.summary).toContain('no layout "log"');
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
    const findings = await qualify(new Stale(bucket));
    expect(findings.at(-1)).toMatchObject({ severity: 'error', summary: 'nothing is safe there' });
  });
});
