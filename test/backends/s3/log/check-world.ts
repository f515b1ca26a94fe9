import { crc32 } from 'node:zlib';
import { type S3Config, s3Config } from '../../../../backends/s3/config.ts';
import { checkVolume } from '../../../../backends/s3/log/check/check-volume.ts';
import { encodeHead, type Head } from '../../../../backends/s3/log/head.ts';
import { decodeRoot } from '../../../../backends/s3/log/map/root.ts';
import { LogNames } from '../../../../backends/s3/log/names.ts';
import { createSnapshot } from '../../../../backends/s3/log/volume/snapshot-operations.ts';
import { openVolume } from '../../../../backends/s3/open.ts';
import { type Operation, withStore } from '../../../../backends/s3/operation.ts';
import { createVolume } from '../../../../backends/s3/volumes.ts';
import type { BlockDevice, CheckOptions, OpenContext, VolumeCheck } from '../../../../core/plugin.ts';
import { FakeBucket, FakeStore } from '../fake-store.ts';
import { context, HASTE, MIB, pattern } from '../harness.ts';

export const SIZE = 64 * MIB;

export function settings(prefix: string, size?: number): S3Config {
  return s3Config.parse({ bucket: 'bucket', prefix, ...(size && { size }) });
}

export function on<T>(
  bucket: FakeBucket,
  prefix: string,
  run: (operation: Operation) => Promise<T>,
): Promise<T> {
  return withStore(new FakeStore(bucket), settings(prefix), context(), run);
}

export async function newVolume(): Promise<FakeBucket> {
  const bucket = new FakeBucket();
  await withStore(new FakeStore(bucket), settings('a', SIZE), context(), createVolume);
  return bucket;
}

export async function withDisk<T>(
  bucket: FakeBucket,
  prefix: string,
  use: (device: BlockDevice) => Promise<T>,
  options: Partial<OpenContext> = {},
): Promise<T> {
  const device = await openVolume(new FakeStore(bucket), settings(prefix), context(options), HASTE);
  await using _device = device;
  return await use(device);
}

/** Each is an object of the log. */
export const write = (
  bucket: FakeBucket,
  prefix: string,
  ...writes: readonly (readonly [number, number])[]
) =>
  withDisk(bucket, prefix, async (device) => {
    for (const [at, tag] of writes) {
      await device.write!(at, [pattern(MIB, tag)], 0);
      await device.flush!(0);
    }
  });

export const check = (bucket: FakeBucket, prefix = 'a', options: Partial<CheckOptions> = {}) =>
  on(bucket, prefix, (operation) =>
    checkVolume(operation, { data: true, repair: false, progress: () => undefined, ...options }),
  );

export const errorsOf = ({ findings }: VolumeCheck) =>
  findings.filter(({ severity }) => severity === 'error').map(({ what, where }) => `${where}: ${what}`);

export const headOf = (bucket: FakeBucket, prefix = 'a'): Head =>
  JSON.parse(bucket.objects.get(`${prefix}/head`)!.body.toString());

/** As a person with the bucket's credentials. */
export async function replace(bucket: FakeBucket, key: string, body: Buffer): Promise<void> {
  await new FakeStore(bucket).put(key, body, {});
}

export const changeHead = (bucket: FakeBucket, changes: Partial<Head>) =>
  replace(bucket, 'a/head', encodeHead({ ...headOf(bucket), ...changes }));

export const bodyOf = (bucket: FakeBucket, key: string): Buffer => Buffer.from(bucket.objects.get(key)!.body);

/** Object number `seq` of the latest epoch, unless another is given. */
export const logKey = (bucket: FakeBucket, seq: number, epoch = headOf(bucket).epoch, prefix = 'a') =>
  new LogNames(prefix).object({ epoch, seq });

/** With the CRC-32 at byte `at` that it has to have. */
export function sealed(bytes: Buffer, at: number, length = bytes.length): Buffer {
  bytes.writeUInt32LE(0, at);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, length)), at);
  return bytes;
}

/** A checkpoint with another content in its first part, the root. */
export function withRoot(bucket: FakeBucket, key: string, change: (root: Buffer) => void): Buffer {
  const body = bodyOf(bucket, key);
  const root = body.subarray(0, headOf(bucket).snapshots[0]!.checkpoint.root);
  change(root);
  sealed(root, 12);
  return body;
}

/** A checkpoint with another content in its slice `which`. */
export function withSlice(
  bucket: FakeBucket,
  key: string,
  which: 'page' | 'table',
  change: (slice: Buffer) => void,
): Buffer {
  const body = bodyOf(bucket, key);
  const bytes = body.subarray(0, headOf(bucket).snapshots[0]!.checkpoint.root);
  const root = decodeRoot(bytes, { name: key, key: undefined });
  if (typeof root === 'string') throw new Error(root);
  const { part, offset, length } = (which === 'page' ? root.pages[0]!.slices : root.tables)[0]!;
  const slice = body.subarray(part.dataAt + offset, part.dataAt + offset + length);
  change(slice);
  slice.writeUInt32LE(crc32(slice.subarray(4)), 0);
  return body;
}

/** Objects 1 to 3 of one epoch: a MiB each at 0, 8 and 16 MiB. */
export async function threeObjects() {
  const bucket = await newVolume();
  await write(bucket, 'a', [0, 1], [8 * MIB, 2], [16 * MIB, 3]);
  return bucket;
}

/** The same in a checkpoint, which a snapshot refers to as well. */
export async function inCheckpoint() {
  const bucket = await threeObjects();
  const keys = [1, 2, 3].map((seq) => logKey(bucket, seq)) as [string, string, string];
  await on(bucket, 'a', (operation) => createSnapshot(operation, 'kept'));
  return { bucket, keys, checkpoint: headOf(bucket).checkpoint!.key };
}
