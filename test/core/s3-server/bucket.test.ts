import { afterEach, beforeEach, expect, it } from 'vitest';
import { ObjectStore } from '../../../core/s3-server/object-store.ts';
import { tempFolder } from '../../support/temp-folder.ts';

let stack: AsyncDisposableStack;
let store: ObjectStore;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  const dataDir = stack.use(tempFolder()).path;
  store = stack.use(await ObjectStore.open({ dataDir, fsync: false, maxObjects: 10 }));
  await store.createBucket('bucket');
});
afterEach(() => stack.disposeAsync());

/** Writes an object of `size` bytes up to the point where it only has to be put in place. */
async function prepare(size: number): Promise<() => Promise<void>> {
  const writer = stack.use(await store.createWriter());
  await writer.write(Buffer.alloc(size));
  const metadata = { key: 'key', size, etag: '', lastModified: 0, headers: {} };
  await writer.finish(metadata);
  return () => store.bucket('bucket').put(writer, metadata, () => {});
}

it('opens bytes and metadata of one version while the key is overwritten', async () => {
  const bucket = store.bucket('bucket');
  await (await prepare(1))();
  for (let version = 2; version < 200; version++) {
    const put = await prepare(version);
    const opening = [bucket.open('key'), bucket.open('key'), bucket.open('key')];
    await put();
    for (const { metadata, handle } of await Promise.all(opening)) {
      const data = await handle.readFile();
      await handle.close();
      expect(data.subarray(0, metadata.size + 1)).toEqual(Buffer.from(`${'\0'.repeat(metadata.size)}{`));
    }
  }
});

it('opens an object or says NoSuchKey while the key is deleted', async () => {
  const bucket = store.bucket('bucket');
  for (let round = 0; round < 50; round++) {
    await (await prepare(5))();
    const opening = Promise.allSettled([bucket.open('key'), bucket.open('key')]);
    await bucket.delete('key', () => {});
    for (const outcome of await opening) {
      if (outcome.status === 'fulfilled') await outcome.value.handle.close();
      else expect(outcome.reason).toMatchObject({ code: 'NoSuchKey' });
    }
  }
});

it('is not deleted while a change to it is under way', async () => {
  const put = await prepare(1);
  const putting = put();
  await expect(store.deleteBucket('bucket')).rejects.toMatchObject({ code: 'OperationAborted' });
  await putting;
});

it('takes no change any more once it is deleted', async () => {
  const bucket = store.bucket('bucket');
  await store.deleteBucket('bucket');
  const writer = stack.use(await store.createWriter());
  const metadata = { key: 'key', size: 0, etag: '', lastModified: 0, headers: {} };
  await writer.finish(metadata);
  await expect(bucket.put(writer, metadata, () => {})).rejects.toMatchObject({ code: 'NoSuchBucket' });
  await expect(bucket.uploads.create({ key: 'key', initiated: 0, headers: {} })).rejects.toMatchObject({
    code: 'NoSuchBucket',
  });
});
