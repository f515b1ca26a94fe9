import type { ChunkDevice } from '../../../backends/s3/chunk/device.ts';
import { createVolume } from '../../../backends/s3/chunk/volumes.ts';
import { type S3Config, s3Config } from '../../../backends/s3/config.ts';
import { openVolume } from '../../../backends/s3/open.ts';
import { withStore } from '../../../backends/s3/operation.ts';
import type { ObjectStore } from '../../../backends/s3/store/object-store.ts';
import type { BlockDevice, OpenContext } from '../../../core/plugin.ts';
import { MemoryLogger } from '../../support/fake-device.ts';
import { FakeBucket, FakeStore } from './fake-store.ts';

export const KIB = 1024;
/** Chunk size of the volumes of these tests. */
export const CHUNK = 64 * KIB;
export const MIB = 1024 * 1024;

/** What a plugin is given, with a switch for its signal. */
export function context(
  options: Partial<OpenContext> = {},
): OpenContext & { readonly logger: MemoryLogger; readonly stop: () => void } {
  const controller = new AbortController();
  return {
    disk: 'disk0',
    signal: controller.signal,
    stateDir: '/nonexistent',
    baseDir: '/nonexistent',
    readOnly: false,
    takeOver: false,
    ...options,
    logger: new MemoryLogger(),
    stop: () => controller.abort(),
  };
}

export function config(options: Record<string, unknown> = {}): S3Config {
  return s3Config.parse({ bucket: 'bucket', prefix: 'disks/a', chunkSize: '64KiB', ...options });
}

/** A fake bucket with a new volume in it. */
export async function newVolume(size: number, options: Record<string, unknown> = {}) {
  const bucket = new FakeBucket();
  const settings = config({ size, ...options });
  await withStore(new FakeStore(bucket), settings, context(), createVolume);
  return { bucket, settings };
}

/** Retries at once: the clock is not what these tests are about. */
export const HASTE = { baseMs: 0, maxMs: 0, repairMaxMs: 0 };

export async function openDevice(
  store: ObjectStore,
  settings: S3Config,
  options: Partial<OpenContext> = {},
): Promise<ChunkDevice> {
  return (await attachTo(store, settings, options)).device;
}

/** A device with the log it writes and the switch that ends its time for stopping. */
export async function attachTo(store: ObjectStore, settings: S3Config, options: Partial<OpenContext> = {}) {
  const { stop, ...ctx } = context(options);
  const device = (await openVolume(store, settings, ctx, HASTE)) as ChunkDevice;
  return { device, logger: ctx.logger, stop };
}

/** Much faster than `toEqual` on whole chunks. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** `length` bytes that differ from those of any other tag. */
export function pattern(length: number, tag: number): Uint8Array {
  return new Uint8Array(new Uint32Array(length / 4).fill(tag).buffer);
}

export async function readAll(device: BlockDevice, offset: number, length: number): Promise<Uint8Array> {
  const data = new Uint8Array(length).fill(0xee);
  await device.read(offset, [data], 0);
  return data;
}
