import { describe, expect, it } from 'vitest';
import { Layout } from '../../../../backends/s3/chunk/layout.ts';
import {
  createVolume,
  deleteVolume,
  resizeVolume,
  volumeInfo,
} from '../../../../backends/s3/chunk/volumes.ts';
import { type Operation, withStore } from '../../../../backends/s3/operation.ts';
import { StoreError } from '../../../../backends/s3/store/store-error.ts';
import { listVolumes } from '../../../../backends/s3/volumes.ts';
import { FakeBucket, FakeStore } from '../fake-store.ts';
import { CHUNK, config, context, MIB, newVolume, openDevice, pattern, readAll } from '../harness.ts';

const LAYOUT = new Layout('disks/a');
/** Chunks of 64 KiB: a page of the map is 8 GiB of disk. */
const PAGE = CHUNK * 128 * 1024;

function on<T>(bucket: FakeBucket, run: (operation: Operation) => Promise<T>, options = {}): Promise<T> {
  return withStore(new FakeStore(bucket), config(options), context(), run);
}

const remove = (operation: Operation) => deleteVolume(operation, { force: false, progress: () => {} });

/** Lets `count` requests pass and fails the rest, as when the command is killed. */
async function interrupted(
  bucket: FakeBucket,
  count: number,
  run: (operation: Operation) => Promise<unknown>,
  options = {},
): Promise<boolean> {
  const store = new FakeStore(bucket);
  store.gate = () => {
    if (store.requests.length > count) store.kill();
    return undefined;
  };
  return withStore(store, config(options), context(), run).then(
    () => false,
    () => true,
  );
}

describe('creating a volume', () => {
  it('writes its description and a page of the map for each part of the disk', async () => {
    const { bucket } = await newVolume(PAGE + 512);
    expect([...bucket.objects.keys()].sort()).toEqual([
      'disks/a/map/00000000',
      'disks/a/map/00000001',
      'disks/a/volume.json',
    ]);
    expect(JSON.parse(bucket.objects.get(LAYOUT.volume)!.body.toString())).toMatchObject({
      format: 'blockgate-chunk',
      version: 1,
      size: PAGE + 512,
      chunkSize: CHUNK,
      state: 'ready',
    });
  });

  it('is refused where there is one', async () => {
    const { bucket } = await newVolume(MIB);
    await expect(on(bucket, createVolume, { size: MIB })).rejects.toMatchObject({ code: 'volume.exists' });
  });

  it('is refused without a size', async () => {
    await expect(on(new FakeBucket(), createVolume)).rejects.toMatchObject({ code: 'volume.size-missing' });
  });

  it('continues after an interruption at any request, and until then nobody can open the volume', async () => {
    const options = { size: 2 * PAGE };
    for (let count = 1; ; count++) {
      const bucket = new FakeBucket();
      if (!(await interrupted(bucket, count, createVolume, options))) break;
      if (bucket.objects.has(LAYOUT.volume)) {
        await expect(openDevice(new FakeStore(bucket), config())).rejects.toMatchObject({
          code: 'volume.unfinished',
        });
      }
      await on(bucket, createVolume, options);
      await using device = await openDevice(new FakeStore(bucket), config());
      expect(device.info.size).toBe(2 * PAGE);
      expect(count).toBeLessThan(20);
    }
  });

  it('leaves one volume when several try at once', async () => {
    const bucket = new FakeBucket();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 5 }, () => on(bucket, createVolume, { size: MIB })),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThanOrEqual(1);
    await using device = await openDevice(new FakeStore(bucket), config());
    expect(device.info.size).toBe(MIB);
  });

  it('replaces what another volume left behind', async () => {
    const { bucket, settings } = await newVolume(MIB);
    {
      await using device = await openDevice(new FakeStore(bucket), settings);
      await device.write(0, [pattern(MIB, 1)]);
      await device.flush();
    }
    bucket.objects.delete(LAYOUT.volume);
    await on(bucket, createVolume, { size: MIB });
    await using device = await openDevice(new FakeStore(bucket), settings);
    expect((await readAll(device, 0, MIB)).every((byte) => byte === 0)).toBe(true);
    await device.write(512, [pattern(512, 2)]);
    await device.flush();
    expect(await readAll(device, 0, 1536)).toEqual(
      new Uint8Array([...new Uint8Array(512), ...pattern(512, 2), ...new Uint8Array(512)]),
    );
  });
});

describe('a volume', () => {
  it('is described with what it occupies and who has it', async () => {
    const { bucket, settings } = await newVolume(MIB);
    await using device = await openDevice(new FakeStore(bucket), settings);
    await device.write(0, [pattern(2 * CHUNK, 1)]);
    await device.flush();
    expect(await on(bucket, volumeInfo)).toMatchObject({
      name: 'disks/a',
      size: MIB,
      used: 2 * CHUNK,
      owner: expect.stringMatching(/^disk "disk0" of pid \d+ on .+, since 20/),
      details: { layout: 'chunk', chunkSize: CHUNK, crash: 'flush-consistent', fence: 'advisory' },
    });
  });

  it('is listed with those beside it, and nothing else', async () => {
    const bucket = new FakeBucket();
    for (const prefix of ['disks/a', 'disks/b', 'disks/c', 'disks/d', 'disks/e', 'elsewhere/f']) {
      await on(bucket, createVolume, { prefix, size: MIB });
    }
    const other = new FakeStore(bucket);
    await other.put('disks/readme', Buffer.from('text'));
    await other.put('disks/x/volume.json', Buffer.from('{}'));
    const names = (await on(bucket, listVolumes)).map(({ name }) => name);
    expect(names).toEqual(['disks/a', 'disks/b', 'disks/c', 'disks/d', 'disks/e']);
  });

  it('grows over the end of a page of the map, and keeps its content', async () => {
    const { bucket, settings } = await newVolume(PAGE - 512);
    {
      await using device = await openDevice(new FakeStore(bucket), settings);
      await device.write(PAGE - 1024, [pattern(512, 1)]);
      await device.flush();
    }
    await on(bucket, (operation) => resizeVolume(operation, 2 * PAGE));
    await using device = await openDevice(new FakeStore(bucket), config({ size: 2 * PAGE }));
    await device.write(2 * PAGE - 512, [pattern(512, 2)]);
    await device.flush();
    expect(await readAll(device, PAGE - 1024, 512)).toEqual(pattern(512, 1));
    expect(await readAll(device, PAGE - 512, 512)).toEqual(new Uint8Array(512));
  });

  it('does not grow while somebody has it', async () => {
    const { bucket, settings } = await newVolume(MIB);
    await using _device = await openDevice(new FakeStore(bucket), settings);
    const resize = on(bucket, (operation) => resizeVolume(operation, 2 * MIB));
    await expect(resize).rejects.toMatchObject({ code: 'volume.owned' });
  });

  it('grows under a disk that is in use, over the end of a page of the map', async () => {
    const { bucket, settings } = await newVolume(PAGE - CHUNK - 512);
    {
      await using device = await openDevice(new FakeStore(bucket), settings);
      await device.write(PAGE - CHUNK - 1024, [pattern(512, 1)]);
      await device.resize(2 * PAGE);
      expect(device.info.size).toBe(2 * PAGE);
      expect(await readAll(device, PAGE - CHUNK - 512, 1024)).toEqual(new Uint8Array(1024));
      await device.write(2 * PAGE - 512, [pattern(512, 2)]);
      await device.discard(PAGE, CHUNK);
      await device.flush();
      // Nothing is new now.
      await device.resize();
      expect(device.info.size).toBe(2 * PAGE);
    }
    await using device = await openDevice(new FakeStore(bucket), config({ size: 2 * PAGE }));
    expect(await readAll(device, PAGE - CHUNK - 1024, 512)).toEqual(pattern(512, 1));
    expect(await readAll(device, 2 * PAGE - 512, 512)).toEqual(pattern(512, 2));
  });

  it('is what it was when growing under a disk was interrupted, at any request, and can be repeated', async () => {
    for (let allowed = 0; ; allowed++) {
      const { bucket, settings } = await newVolume(PAGE);
      const store = new FakeStore(bucket);
      await using device = await openDevice(store, settings);
      await device.write(0, [pattern(512, 1)]);
      store.requests.length = 0;
      store.gate = () => {
        if (store.requests.length > allowed) store.broken = new StoreError('rejected', 'not now');
        return undefined;
      };
      const done = await device.resize(2 * PAGE).then(
        () => true,
        () => false,
      );
      store.gate = undefined;
      store.broken = undefined;
      if (done) {
        expect(allowed).toBeGreaterThan(5);
        break;
      }
      expect(device.info.size, `after ${allowed} requests`).toBe(PAGE);
      expect(await readAll(device, 0, 512)).toEqual(pattern(512, 1));
      await device.resize(2 * PAGE);
      await device.write(2 * PAGE - 512, [pattern(512, 2)]);
      await device.flush();
    }
  });

  it('is only looked at by a read-only disk', async () => {
    const { bucket, settings } = await newVolume(MIB);
    await using reader = await openDevice(new FakeStore(bucket), settings, { readOnly: true });
    await expect(reader.resize(2 * MIB)).rejects.toMatchObject({ code: 'volume.unsupported' });
    await on(bucket, (operation) => resizeVolume(operation, 2 * MIB));
    await reader.resize();
    expect(reader.info.size).toBe(2 * MIB);
  });

  it('does not shrink under a disk that is in use', async () => {
    const { bucket, settings } = await newVolume(MIB);
    await using device = await openDevice(new FakeStore(bucket), settings);
    await expect(device.resize(MIB - 512)).rejects.toMatchObject({ code: 'volume.cannot-shrink' });
    expect(device.info.size).toBe(MIB);
  });

  it.each([
    [MIB - 512, 'volume.cannot-shrink', 'has 1048576 bytes and does not shrink to 1048064'],
    [MIB + 1, 'volume.bad-size', 'A volume cannot have 1048577 bytes.'],
  ])('is not resized to %i', async (size, code, message) => {
    const { bucket } = await newVolume(MIB);
    const error = await on(bucket, (operation) => resizeVolume(operation, size)).catch((refused) => refused);
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
  });
});

describe('deleting a volume', () => {
  it('is refused while somebody has it, unless forced', async () => {
    const { bucket, settings } = await newVolume(MIB);
    const store = new FakeStore(bucket);
    const device = await openDevice(store, settings);
    await expect(on(bucket, remove)).rejects.toMatchObject({ code: 'volume.owned' });
    await on(bucket, (operation) => deleteVolume(operation, { force: true, progress: () => {} }));
    expect(bucket.objects.size).toBe(0);
    store.kill();
    await device[Symbol.asyncDispose]();
  });

  it('tells how far it is', async () => {
    const { bucket, settings } = await newVolume(MIB);
    {
      await using device = await openDevice(new FakeStore(bucket), settings);
      await device.write(0, [pattern(MIB, 1)]);
      await device.flush();
    }
    const steps: [number, number][] = [];
    const progress = (done: number, total: number) => steps.push([done, total]);
    await on(bucket, (operation) => deleteVolume(operation, { force: false, progress }));
    expect(steps.at(-1)).toEqual([17, 17]);
    expect(steps.length).toBeGreaterThan(3);
  });

  it('continues after an interruption at any request, and nobody can open what is left', async () => {
    for (let count = 1; ; count++) {
      const { bucket } = await newVolume(2 * PAGE);
      const force = (operation: Operation) => deleteVolume(operation, { force: true, progress: () => {} });
      if (!(await interrupted(bucket, count, force))) break;
      const marked = bucket.objects.get(LAYOUT.volume)!.body.toString().includes('deleting');
      if (marked) {
        const open = openDevice(new FakeStore(bucket), config(), { takeOver: true });
        await expect(open).rejects.toMatchObject({ code: 'volume.unfinished' });
      }
      await on(bucket, force);
      expect(bucket.objects.size).toBe(0);
      expect(count).toBeLessThan(30);
    }
  });
});
