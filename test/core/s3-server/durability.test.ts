import { type FileHandle, open } from 'node:fs/promises';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { DirectorySync } from '../../../core/s3-server/directory-sync.ts';
import { ObjectStore } from '../../../core/s3-server/object-store.ts';
import { tempFolder } from '../../support/temp-folder.ts';

let stack: AsyncDisposableStack;
let path: string;
/** What reached the disk, in order. */
let flushes: string[];

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  path = stack.use(tempFolder()).path;
  flushes = [];
  const handle = await open(path, 'r');
  // The class is not exported; its prototype is that of any handle.
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  for (const name of ['sync', 'datasync'] as const) {
    const original = prototype[name];
    const spy = vi.spyOn(prototype, name).mockImplementation(async function (this: FileHandle) {
      await original.call(this);
      flushes.push(name);
    });
    stack.defer(() => spy.mockRestore());
  }
});
afterEach(() => stack.disposeAsync());

async function storeWithBucket(fsync: boolean) {
  const store = stack.use(await ObjectStore.open({ dataDir: `${path}/data`, fsync, maxObjects: 10 }));
  await store.createBucket('bucket');
  return store;
}

async function put(store: ObjectStore): Promise<void> {
  await using writer = await store.createWriter();
  const metadata = { key: 'key', size: 0, etag: '', lastModified: 0, headers: {} };
  await writer.finish(metadata);
  await store.bucket('bucket').put(writer, metadata, () => {});
}

it('flushes the file, then the folder, before a change is acknowledged', async () => {
  const store = await storeWithBucket(true);
  flushes = [];
  await put(store);
  expect(flushes).toEqual(['datasync', 'sync']);
  await store.bucket('bucket').delete('key', () => {});
  expect(flushes).toEqual(['datasync', 'sync', 'sync']);
});

it('flushes nothing without fsync', async () => {
  const store = await storeWithBucket(false);
  flushes = [];
  await put(store);
  expect(flushes).toEqual([]);
});

it('shows a change to nobody before it is durable', async () => {
  const store = await storeWithBucket(true);
  await put(store);
  const bucket = store.bucket('bucket');
  const deletion = bucket.delete('key', () => {});
  expect(bucket.find('key')).toBeDefined();
  await deletion;
  expect(bucket.find('key')).toBeUndefined();
});

it('lets changes that come during a flush of the folder share the next one', async () => {
  const directory = stack.use(await DirectorySync.open(path, true));
  await Promise.all(Array.from({ length: 10 }, () => directory.sync()));
  expect(flushes).toEqual(['sync', 'sync']);
});

it('tells every change that shares a failed flush', async () => {
  const directory = stack.use(await DirectorySync.open(path, true));
  const handle = await open(path, 'r');
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  vi.mocked(prototype.sync).mockRejectedValueOnce(new Error('EIO'));
  const outcomes = await Promise.allSettled([directory.sync(), directory.sync()]);
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
});
