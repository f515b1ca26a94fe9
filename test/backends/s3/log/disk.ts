import { expect } from 'vitest';
import { type S3Config, s3Config } from '../../../../backends/s3/config.ts';
import { openVolume } from '../../../../backends/s3/open.ts';
import { type Operation, withStore } from '../../../../backends/s3/operation.ts';
import { createVolume } from '../../../../backends/s3/volumes.ts';
import type { BlockDevice, GatewayError, OpenContext } from '../../../../core/plugin.ts';
import { FakeBucket, FakeStore } from '../fake-store.ts';
import { context, HASTE, KIB, MIB } from '../harness.ts';

/** Disks with the layout "log" in a bucket in memory. */

export const BLOCK = 4 * KIB;

export function settings(options: Record<string, unknown> = {}): S3Config {
  return s3Config.parse({ bucket: 'bucket', prefix: 'disks/a', ...options });
}

export async function newVolume(
  size = 16 * MIB,
  options: Record<string, unknown> = {},
  bucket = new FakeBucket(),
): Promise<FakeBucket> {
  await operate(bucket, createVolume, { size, ...options });
  return bucket;
}

export function operate<T>(
  bucket: FakeBucket,
  run: (operation: Operation) => Promise<T>,
  options: Record<string, unknown> = {},
): Promise<T> {
  return withStore(new FakeStore(bucket), settings(options), context(), run);
}

export async function opened(
  bucket: FakeBucket,
  options: Record<string, unknown> = {},
  open: Partial<OpenContext> = {},
) {
  const store = new FakeStore(bucket);
  const ctx = context(open);
  const device: BlockDevice = await openVolume(store, settings(options), ctx, HASTE);
  store.requests.length = 0;
  return { store, device, logger: ctx.logger, [Symbol.asyncDispose]: () => device[Symbol.asyncDispose]() };
}

export async function refusal(attempt: Promise<unknown>): Promise<GatewayError> {
  return attempt.then(
    () => expect.fail('it was not refused'),
    (error: GatewayError) => error,
  );
}
