import { mkdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import type { IoVec, Volume } from '../../../core/api/device.ts';
import type { GatewayError } from '../../../core/api/errors.ts';
import { type CopyRequest, copyDisk } from '../../../core/app/copy/copy-disk.ts';
import { compareImages, copyImage } from '../../../core/app/copy/copy-image.ts';
import { loadConfig } from '../../../core/config/load.ts';
import { MemoryLogger } from '../../support/fake-device.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const MIB = 2 ** 20;
const folder = tempFolder();
afterAll(() => folder[Symbol.dispose]());
let places = 0;

/** A disk of a file, with what `options` add, and where its state lies. */
function place(size: number, options: { readonly filters?: readonly object[] } = {}) {
  const dir = folder.file(`place${++places}`);
  mkdirSync(dir);
  const path = (name: string) => `${dir}/${name}`;
  const backend = { type: 'file', path: path('disk.img'), size };
  writeFileSync(
    path('plugins.json'),
    JSON.stringify({ version: 1, disks: { disk0: { backend, ...options } } }),
  );
  return { path, dir };
}

type Place = ReturnType<typeof place>;

async function copy(
  { path, dir }: Place,
  direction: 'import' | 'export',
  image: string,
  more: Partial<CopyRequest> & { stopAfter?: number } = {},
): Promise<number> {
  const { stopAfter = Number.POSITIVE_INFINITY, ...request } = more;
  const controller = new AbortController();
  return await copyDisk(
    {
      ...{ direction, disk: 'disk0', image: path(image) },
      ...{ allowSmaller: false, overwrite: false, resume: false, verify: false },
      ...request,
    },
    {
      config: await loadConfig(path('plugins.json')),
      stateDir: `${dir}/state`,
      logger: new MemoryLogger() as never,
      signal: controller.signal,
      progress: (_, done) => {
        if (done >= stopAfter) controller.abort(new Error('stopped'));
      },
    },
  );
}

const refusal = (attempt: Promise<unknown>): Promise<GatewayError> =>
  attempt.then(
    () => expect.fail('it was not refused'),
    (error: GatewayError) => error,
  );

/** `size` bytes, of which some runs are random and the rest zeros. */
function sparse(size: number, seed: number): Buffer {
  const image = Buffer.alloc(size);
  let state = seed;
  const below = (n: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  for (let run = 0; run < 20; run++) {
    const at = below(size);
    const end = Math.min(size, at + below(2 * MIB));
    for (let i = at; i < end; i += 4) image.writeUInt32LE(below(2 ** 32), Math.min(i, size - 4));
  }
  return image;
}

describe('a copy', () => {
  it('makes a disk what an image is, and an image what a disk is', async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const at = place(80 * MIB);
    const image = sparse(80 * MIB, seed);
    writeFileSync(at.path('in.img'), image);
    // What was there before has to go, also where the image has zeros.
    writeFileSync(at.path('disk.img'), Buffer.alloc(80 * MIB, 0xee));
    expect(await copy(at, 'import', 'in.img', { verify: true })).toBe(80 * MIB);
    expect(readFileSync(at.path('disk.img')).equals(image), `seed ${seed}`).toBe(true);
    await copy(at, 'export', 'out.img', { verify: true });
    expect(readFileSync(at.path('out.img')).equals(image), `seed ${seed}`).toBe(true);
    expect(statSync(at.path('out.img')).blocks * 512).toBeLessThan(60 * MIB);
  });

  it('goes on where it was interrupted, wherever that was, and copies nothing again that is durable', async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const at = place(200 * MIB);
    const image = sparse(200 * MIB, seed);
    writeFileSync(at.path('in.img'), image);
    await expect(copy(at, 'import', 'in.img', { stopAfter: 140 * MIB })).rejects.toThrow('stopped');
    const before = JSON.parse(readFileSync(`${at.dir}/state/disk0/import.json`, 'utf8')) as { done: number };
    expect(before.done).toBe(128 * MIB);
    // Of what is durable nothing is looked at again.
    const disk = readFileSync(at.path('disk.img'));
    disk.fill(0x77, 0, MIB);
    writeFileSync(at.path('disk.img'), disk);
    await copy(at, 'import', 'in.img', { resume: true });
    image.fill(0x77, 0, MIB);
    expect(readFileSync(at.path('disk.img')).equals(image), `seed ${seed}`).toBe(true);
    expect((await refusal(copy(at, 'import', 'in.img', { resume: true }))).code).toBe('copy.not-resumable');
  });

  it('goes on with an export whatever has happened to the disk and to the copy meanwhile', async () => {
    const at = place(200 * MIB);
    writeFileSync(at.path('disk.img'), sparse(200 * MIB, 3));
    await expect(copy(at, 'export', 'out.img', { stopAfter: 140 * MIB })).rejects.toThrow('stopped');
    const disk = sparse(200 * MIB, 4);
    writeFileSync(at.path('disk.img'), disk);
    await copy(at, 'export', 'out.img', { resume: true });
    expect(readFileSync(at.path('out.img')).equals(disk)).toBe(true);
  });

  it('does not go on with what was begun anew since', async () => {
    const at = place(200 * MIB);
    writeFileSync(at.path('disk.img'), sparse(200 * MIB, 5));
    await expect(copy(at, 'export', 'out.img', { stopAfter: 140 * MIB })).rejects.toThrow('stopped');
    // Dies before anything of it is durable.
    await expect(copy(at, 'export', 'out.img', { overwrite: true, stopAfter: MIB })).rejects.toThrow(
      'stopped',
    );
    expect((await refusal(copy(at, 'export', 'out.img', { resume: true }))).code).toBe('copy.not-resumable');
  });

  it('leaves alone what is behind the end of the disk in a larger target', async () => {
    const [from, to] = [Buffer.alloc(2 * MIB, 5), Buffer.alloc(3 * MIB, 9)];
    await copyImage(volumeOf(from), volumeOf(to), {
      ...{ size: from.length, done: 0, isSame: false },
      onDurable: async () => undefined,
      progress: () => undefined,
      signal: new AbortController().signal,
    });
    expect(to.equals(Buffer.concat([from, Buffer.alloc(MIB, 9)]))).toBe(true);
  });

  it('does not go on with a source that was changed', async () => {
    const at = place(130 * MIB);
    writeFileSync(at.path('in.img'), sparse(130 * MIB, 7));
    await expect(copy(at, 'import', 'in.img', { stopAfter: 70 * MIB })).rejects.toThrow('stopped');
    utimesSync(at.path('in.img'), new Date(), new Date(0));
    expect((await refusal(copy(at, 'import', 'in.img', { resume: true }))).code).toBe('copy.not-resumable');
  });

  it('refuses what does not fit, and makes the rest zeros when it is told to', async () => {
    const at = place(8 * MIB);
    writeFileSync(at.path('large.img'), Buffer.alloc(9 * MIB, 1));
    expect(await refusal(copy(at, 'import', 'large.img'))).toMatchObject({
      code: 'copy.too-large',
      fix: expect.stringContaining('resize disk0 9437184'),
    });
    writeFileSync(at.path('small.img'), Buffer.alloc(3 * MIB, 1));
    writeFileSync(at.path('disk.img'), Buffer.alloc(8 * MIB, 0xee));
    expect((await refusal(copy(at, 'import', 'small.img'))).code).toBe('copy.too-small');
    expect(readFileSync(at.path('disk.img')).every((byte) => byte === 0xee)).toBe(true);
    await copy(at, 'import', 'small.img', { allowSmaller: true, verify: true });
    expect(
      readFileSync(at.path('disk.img')).equals(
        Buffer.concat([Buffer.alloc(3 * MIB, 1), Buffer.alloc(5 * MIB)]),
      ),
    ).toBe(true);
  });

  it('does not replace a file unless it is told to', async () => {
    const at = place(MIB);
    writeFileSync(at.path('disk.img'), Buffer.alloc(MIB, 5));
    writeFileSync(at.path('out.img'), 'precious');
    expect((await refusal(copy(at, 'export', 'out.img'))).code).toBe('copy.exists');
    expect(readFileSync(at.path('out.img'), 'utf8')).toBe('precious');
    await copy(at, 'export', 'out.img', { overwrite: true });
    expect(readFileSync(at.path('out.img')).equals(Buffer.alloc(MIB, 5))).toBe(true);
    expect((await refusal(copy(at, 'import', 'nowhere.img'))).code).toBe('copy.no-image');
  });

  it('says where reading failed, and at which byte a copy is not what it should be', async () => {
    const range = { offset: 2 * MIB, length: 4096 };
    const failing = place(4 * MIB, { filters: [{ type: 'error', on: ['read'], range }] });
    writeFileSync(failing.path('disk.img'), Buffer.alloc(4 * MIB, 1));
    expect(await refusal(copy(failing, 'export', 'out.img'))).toMatchObject({
      code: 'copy.failed',
      message: `Copying failed at byte ${2 * MIB} of the source.`,
    });
    const [is, should] = [Buffer.alloc(4 * MIB, 1), Buffer.alloc(4 * MIB, 1)];
    is[3_000_001] = 2;
    const compared = compareImages(volumeOf(should), volumeOf(is), {
      size: is.length,
      progress: () => undefined,
      signal: new AbortController().signal,
    });
    expect(await refusal(compared)).toMatchObject({
      code: 'copy.different',
      message: 'The copy differs from its source at byte 3000001.',
    });
  });
});

/** What a copy needs of a volume. */
const volumeOf = (bytes: Buffer): Volume =>
  ({
    size: bytes.length,
    caps: { extents: false },
    read: async (offset: number, [into]: IoVec) => void bytes.copy(into!, 0, offset, offset + into!.length),
    write: async (offset: number, [from]: IoVec) => void bytes.set(from!, offset),
    flush: async () => undefined,
    extents: async (offset: number, length: number) => [{ offset, length, kind: 'data' }],
  }) as unknown as Volume;
