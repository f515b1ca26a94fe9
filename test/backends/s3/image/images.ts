import { randomBytes } from 'node:crypto';
import { type S3Config, s3Config } from '../../../../backends/s3/config.ts';
import { openVolume } from '../../../../backends/s3/open.ts';
import type { BlockDevice } from '../../../../core/plugin.ts';
import { FakeBucket, FakeStore } from '../fake-store.ts';
import { context, HASTE } from '../harness.ts';

/** Images in a bucket in memory. */

export const KEY = 'images/debian.raw';

export function settings(options: Record<string, unknown> = {}): S3Config {
  return s3Config.parse({ bucket: 'bucket', layout: 'image', key: KEY, ...options });
}

/** Puts `body` where the image is, under an ETag that no other upload has, unless it is given. */
export function upload(
  bucket: FakeBucket,
  body: Buffer,
  etag = `"${randomBytes(16).toString('hex')}"`,
): void {
  bucket.objects.set(KEY, { body, info: { etag, size: body.length, metadata: {} } });
}

export function bucketWith(body: Buffer, etag?: string): FakeBucket {
  const bucket = new FakeBucket();
  upload(bucket, body, etag);
  return bucket;
}

export async function opened(
  bucket: FakeBucket,
  options: Record<string, unknown> = {},
  random?: () => number,
) {
  const store = new FakeStore(bucket, random);
  const ctx = context({ readOnly: true });
  const device: BlockDevice = await openVolume(store, settings(options), ctx, HASTE);
  store.requests.length = 0;
  ctx.logger.lines.length = 0;
  return { store, device, logger: ctx.logger, [Symbol.asyncDispose]: () => device[Symbol.asyncDispose]() };
}
