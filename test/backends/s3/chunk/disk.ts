import { expect } from 'vitest';
import type { ChunkDevice } from '../../../../backends/s3/chunk/device.ts';
import { openVolume } from '../../../../backends/s3/open.ts';
import type { RetryPolicy } from '../../../../backends/s3/store/retrying-store.ts';
import type { OpenContext } from '../../../../core/plugin.ts';
import { type FakeBucket, FakeStore } from '../fake-store.ts';
import { CHUNK, config, context, HASTE, newVolume, pattern, readAll, sameBytes } from '../harness.ts';

export const LINE = CHUNK / 16;

/** A device on a store that counts its requests from the moment at which the device is open. */
export async function opened(
  bucket: FakeBucket,
  options: Record<string, unknown> = {},
  open: Partial<OpenContext> = {},
  policy: Partial<RetryPolicy> = {},
) {
  const store = new FakeStore(bucket);
  const ctx = context(open);
  const device = (await openVolume(store, config(options), ctx, { ...HASTE, ...policy })) as ChunkDevice;
  store.requests.length = 0;
  const cleanup: AsyncDisposable = {
    async [Symbol.asyncDispose]() {
      store.gate = undefined;
      store.broken = undefined;
      await device[Symbol.asyncDispose]();
    },
  };
  return { store, ctx, device, logger: ctx.logger, ...cleanup };
}

/** A volume whose chunks 0, 1, … hold the tags 1, 2, … */
export async function filled(chunks: number, size = chunks * CHUNK): Promise<FakeBucket> {
  const { bucket } = await newVolume(size);
  await using disk = await opened(bucket);
  for (let i = 0; i < chunks; i++) await disk.device.write(i * CHUNK, [pattern(CHUNK, i + 1)]);
  await disk.device.flush();
  return bucket;
}

/** Holds requests of one kind until released. */
export function hold(store: FakeStore, operation: string, part = ''): () => void {
  const gate = Promise.withResolvers<void>();
  store.gate = (name, key) => (name === operation && key.includes(part) ? gate.promise : undefined);
  return () => {
    store.gate = undefined;
    gate.resolve();
  };
}

export async function expectTag(
  device: ChunkDevice,
  offset: number,
  length: number,
  tag: number,
): Promise<void> {
  expect(sameBytes(await readAll(device, offset, length), pattern(length, tag)), `at ${offset}`).toBe(true);
}

export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
