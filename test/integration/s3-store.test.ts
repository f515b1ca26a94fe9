import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { s3Config } from '../../backends/s3/config.ts';
import { SdkStore } from '../../backends/s3/store/client.ts';
import { LeanStore } from '../../backends/s3/store/lean-store.ts';
import type { ObjectStore } from '../../backends/s3/store/object-store.ts';
import type { StoreError } from '../../backends/s3/store/store-error.ts';
import { S3_SERVERS, startS3, type TestS3 } from '../support/s3.ts';

/** The two ways to a store, which have to be one: objects by the SDK, and without it. */
const WAYS = {
  'by the SDK': (config: ReturnType<typeof s3Config.parse>) => SdkStore.connect(config, '/', {}),
  'without it': (config: ReturnType<typeof s3Config.parse>) => LeanStore.connect(config, '/'),
} as const;
const WAY_NAMES = Object.keys(WAYS) as (keyof typeof WAYS)[];

describe.each(S3_SERVERS)('objects on %s', (name) => {
  let server: TestS3;
  const opened: ObjectStore[] = [];
  let keys = 0;

  beforeAll(async () => {
    server = await startS3(name);
  });

  afterEach(() => {
    server.setFaults?.({});
    for (const store of opened.splice(0)) store[Symbol.dispose]();
  });

  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });

  async function connect(way: keyof typeof WAYS, overrides: object = {}): Promise<ObjectStore> {
    const store = await WAYS[way](s3Config.parse({ ...server.backend, prefix: 'p', ...overrides }));
    opened.push(store);
    return store;
  }

  const newKey = (): string => `objects/${++keys}`;
  const kindOf = (attempt: Promise<unknown>): Promise<string> =>
    attempt.then(
      () => 'done',
      (error: StoreError) => error.kind,
    );

  it('are reached without the SDK', async () => {
    expect(await connect('without it')).toBeInstanceOf(LeanStore);
  });

  describe.each(WAY_NAMES)('%s', (way) => {
    it('are read as they were written, in parts and into several pieces of memory', async () => {
      const store = await connect(way);
      const key = newKey();
      const body = randomBytes(9 * 2 ** 20 + 5);
      const etag = await store.put(key, body, { metadata: { 'what-it-is': 'random' } });
      for (const [offset, lengths] of [
        [0, [body.length]],
        [1, [1, 7, 100_000]],
        [body.length - 10, [3, 7]],
      ] as const) {
        const pieces = lengths.map((length) => Buffer.alloc(length));
        const info = await store.read(key, offset, pieces);
        const found = Buffer.concat(pieces);
        expect(found.equals(body.subarray(offset, offset + found.length))).toBe(true);
        expect(info).toEqual({ etag, size: body.length, metadata: { 'what-it-is': 'random' } });
      }
    });

    it('tell their size where they end too early', async () => {
      const store = await connect(way);
      const key = newKey();
      await store.put(key, Buffer.from('0123456789'));
      const into = Buffer.alloc(8, 0xff);
      expect(await store.read(key, 6, [into])).toMatchObject({ size: 10 });
      expect(into.toString('latin1')).toBe('6789\xff\xff\xff\xff');
      expect(await store.read(key, 10, [into])).toMatchObject({ size: 10 });
      expect(await store.read(newKey(), 0, [into])).toBeUndefined();
    });

    it('are written on conditions', async () => {
      const store = await connect(way);
      const key = newKey();
      const put = (body: string, condition: 'absent' | { etag: string }) =>
        kindOf(store.put(key, Buffer.from(body), { condition }));
      expect(await put('none', { etag: '"00000000000000000000000000000000"' })).toBe('precondition-failed');
      expect(await put('first', 'absent')).toBe('done');
      expect(await put('second', 'absent')).toBe('precondition-failed');
      const { etag } = (await store.head(key))!;
      expect(await put('second', { etag })).toBe('done');
      expect(await put('third', { etag })).toBe('precondition-failed');
      expect(Buffer.from((await store.get(key, 100))!.body).toString()).toBe('second');
    });

    it('have any name', async () => {
      const store = await connect(way);
      const key = `names/a b+c~(1)!'*&=?#[]@$,;:%41/ü-${++keys}`;
      await store.put(key, Buffer.from('here'));
      const into = Buffer.alloc(4);
      expect(await store.read(key, 0, [into])).toMatchObject({ size: 4 });
      expect((await store.list('names/')).objects.map((object) => object.key)).toContain(key);
    });

    it('are refused to those who may not have them', async () => {
      process.env['TEST_S3_OTHER'] = 'wrong-secret-key';
      const credentials = {
        ...(server.backend['credentials'] as object),
        secretAccessKey: { env: 'TEST_S3_OTHER' },
      };
      const stranger = await connect(way, { credentials });
      const lost = await connect(way, { bucket: 'nowhere' });
      const into = [Buffer.alloc(1)];
      expect(await kindOf(stranger.read('any', 0, into))).toBe('bad-credentials');
      expect(await kindOf(stranger.put('any', Buffer.alloc(1)))).toBe('bad-credentials');
      expect(await kindOf(lost.read('any', 0, into))).toBe('no-bucket');
      expect(await kindOf(lost.put('any', Buffer.alloc(1)))).toBe('no-bucket');
    });

    it('are given up when the signal says so', async () => {
      const store = await connect(way);
      const gone = AbortSignal.abort();
      expect(await kindOf(store.read('any', 0, [Buffer.alloc(1)], gone))).toBe('timeout');
      expect(await kindOf(store.put('any', Buffer.alloc(1), {}, gone))).toBe('timeout');
    });

    // The other one cannot be told to fail.
    if (name !== 'the embedded server') return;

    it('fail when the server does, and so that it is worth trying again', async () => {
      const store = await connect(way);
      const key = newKey();
      await store.put(key, randomBytes(200_000));
      const into = () => [Buffer.alloc(200_000)];
      const during = async (fault: object, run: () => Promise<unknown>): Promise<StoreError> => {
        server.setFaults!({ onRequest: () => fault });
        const error = await run().then(
          () => expect.fail('it did not fail'),
          (failure: StoreError) => failure,
        );
        server.setFaults!({});
        return error;
      };
      expect(await during({ error: 'SlowDown' }, () => store.read(key, 0, into()))).toMatchObject({
        kind: 'throttled',
      });
      expect(await during({ error: 'InternalError' }, () => store.put(key, Buffer.alloc(9)))).toMatchObject({
        kind: 'server',
        ambiguous: true,
      });
      for (const fault of [{ dropRequest: true }, { loseResponse: true }])
        expect(await during(fault, () => store.put(key, Buffer.alloc(9)))).toMatchObject({
          transient: true,
          ambiguous: true,
        });
      await store.put(key, randomBytes(200_000));
      expect(await during({ cutBodyAt: 70_000 }, () => store.read(key, 0, into()))).toMatchObject({
        transient: true,
      });
    });
  });
});
