import { describe, expect, it } from 'vitest';
import { s3Config } from '../../../backends/s3/config.ts';

const MINIMAL = { bucket: 'bucket', prefix: 'disks/a' };

function problems(overrides: Record<string, unknown>): string[] {
  const result = s3Config.safeParse({ ...MINIMAL, ...overrides });
  return result.success
    ? []
    : result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
}

describe('the configuration of an s3 backend', () => {
  it.each([1, 1.05, 11, '1.4'])('refuses %j as space amplification', (spaceAmplification) => {
    expect(s3Config.safeParse({ ...MINIMAL, spaceAmplification }).success).toBe(false);
  });

  it('needs a bucket and a prefix, and has defaults for the rest', () => {
    expect(s3Config.parse(MINIMAL)).toEqual({
      ...MINIMAL,
      writeBuffer: 64 * 2 ** 20,
      flush: 'remote',
      spaceAmplification: 1.4,
      readCache: 32 * 2 ** 20,
      bootProfile: false,
      flatten: false,
      retention: 0,
      mapCache: 128 * 2 ** 20,
      maxRequests: 16,
      hedge: true,
      requestTimeout: 20,
      unsafeNoFence: false,
    });
  });

  it.each([
    [{ size: 513 }, 'size: 513 is not a multiple of 512'],
    [{ chunkSize: 100_000 }, 'chunkSize: the chunk size is a power of two'],
    [{ chunkSize: '32KiB' }, 'chunkSize: 32 KiB is less than 64 KiB'],
    [
      { prefix: '/disks' },
      'prefix: a prefix is not empty, has no spaces, and neither starts nor ends with "/"',
    ],
    [{ prefix: 'a/' }, 'prefix: a prefix is not empty, has no spaces, and neither starts nor ends with "/"'],
    [{ endpoint: 'localhost:9000' }, 'endpoint: an endpoint is an http:// or https:// URL'],
    [{ bucket: 'a/b' }, 'bucket: a bucket name is 3 to 63 letters, digits, dots, "-" or "_"'],
  ])('refuses %j', (overrides, problem) => {
    expect(problems(overrides)).toEqual([expect.stringContaining(problem)]);
  });

  it('names an image by its key', () => {
    const { layout, key, prefix } = s3Config.parse({
      bucket: 'bucket',
      layout: 'image',
      key: 'images/a b.raw',
    });
    expect({ layout, key, prefix }).toEqual({
      layout: 'image',
      key: 'images/a b.raw',
      prefix: 'images/a b.raw',
    });
  });

  it.each([
    [{ prefix: undefined }, 'prefix: a volume needs a "prefix": where it lies in the bucket'],
    [{ key: 'a.raw' }, 'key: "key" is for the layout "image"; a volume begins as the object "image"'],
    [
      { format: 'raw' },
      'format: "format" is for the layout "image", and for what is said to be the "image" of a volume',
    ],
    [{ image: 'a.raw', layout: 'chunk' }, 'image: "image" is for volumes with the layout "log"'],
    [{ image: 'a.raw', chunkSize: '1MiB' }, 'image: "image" is for volumes with the layout "log"'],
    [
      { layout: 'image', prefix: undefined, key: 'a', image: 'b' },
      'image: "image" is for volumes, and the layout "image" is none',
    ],
    [{ layout: 'image', prefix: undefined }, 'key: the layout "image" needs the "key" of an object'],
    [{ layout: 'image', key: 'a' }, 'prefix: "prefix" is for volumes, and the layout "image" is none'],
    ...['size', 'chunkSize', 'maxLagBytes'].map((name) => [
      { layout: 'image', prefix: undefined, key: 'a', [name]: '1MiB' },
      `${name}: "${name}" is for volumes, and the layout "image" is none`,
    ]),
    [{ layout: 'image', prefix: undefined, key: 'a', flush: 'local' }, 'flush: an image is not written'],
    [
      { layout: 'image', prefix: undefined, key: 'a', bootProfile: true },
      'bootProfile: "bootProfile" is for volumes with the layout "log"',
    ],
    [
      { layout: 'image', prefix: undefined, key: 'a', flatten: true },
      'flatten: "flatten" is for volumes with the layout "log"',
    ],
  ] as [Record<string, unknown>, string][])('keeps volumes and images apart: %j', (overrides, problem) => {
    expect(problems(overrides)).toEqual([problem]);
  });

  it('does not take a secret by its value, nor repeat it', () => {
    const found = problems({ credentials: { accessKeyId: 'id', secretAccessKey: 'hunter2' } });
    expect(found).toEqual([
      'credentials.secretAccessKey: a secret is written { "env": "NAME" } or { "file": "path" }, never as its value',
    ]);
  });
});
