import { once } from 'node:events';
import { copyFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { checkVolume } from '../../../../backends/s3/log/check/check-volume.ts';
import { BackgroundFlatten } from '../../../../backends/s3/log/volume/background-flatten.ts';
import {
  cloneVolume,
  createSnapshot,
  deleteSnapshot,
} from '../../../../backends/s3/log/volume/snapshot-operations.ts';
import { readVolume, withWriter } from '../../../../backends/s3/log/volume/with-writer.ts';
import { openVolume } from '../../../../backends/s3/open.ts';
import { deleteVolume, volumeInfo } from '../../../../backends/s3/volumes.ts';
import type { BlockDevice, OpenContext } from '../../../../core/plugin.ts';
import { MemoryLogger } from '../../../support/fake-device.ts';
import { tempFolder } from '../../../support/temp-folder.ts';
import { type FakeBucket, FakeStore } from '../fake-store.ts';
import { context, HASTE, MIB, readAll, sameBytes } from '../harness.ts';
import { BLOCK, newVolume, operate, settings } from './disk.ts';
import { keyFile } from './key-files.ts';

const PAGE = 64 * MIB;
const SIZE = 3 * PAGE;
/** Where the parent has something, or the guest writes. */
const USED = [
  { from: 0, to: 24 * MIB },
  { from: PAGE - 16 * MIB, to: PAGE + 24 * MIB },
  { from: 2 * PAGE, to: 2 * PAGE + 24 * MIB },
] as const;
const folder = tempFolder();
afterAll(() => folder[Symbol.dispose]());

/** Numbers that repeat themselves. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A disk and what it should hold. */
class Guest {
  readonly content: Buffer;
  #tag: number;

  constructor(content = Buffer.alloc(SIZE), tag = 1) {
    this.content = content;
    this.#tag = tag;
  }

  async write(device: BlockDevice, at: number, length: number): Promise<void> {
    const data = Buffer.alloc(length);
    // Each sector is another, and so is each write.
    for (let i = 0; i < length; i += 512) data.writeUInt32LE(this.#tag++, i);
    data.copy(this.content, at);
    await device.write!(at, [data], 0);
  }

  async zero(device: BlockDevice, at: number, length: number): Promise<void> {
    this.content.fill(0, at, at + length);
    await device.writeZeroes!(at, length, 0);
  }

  async sees(device: BlockDevice): Promise<boolean> {
    for (const { from, to } of USED)
      for (let at = from; at < to; at += 8 * MIB)
        if (!sameBytes(await readAll(device, at, 8 * MIB), this.content.subarray(at, at + 8 * MIB)))
          return false;
    return true;
  }
}

interface Clone {
  readonly bucket: FakeBucket;
  options: Record<string, unknown>;
  readonly guest: Guest;
}

/** A clone of a volume with 26 MiB of data in three pages of the map. */
async function cloned(options: Record<string, unknown> = {}): Promise<Clone> {
  const parent = { ...options, flush: 'remote', journal: undefined };
  const bucket = await newVolume(SIZE, parent);
  const guest = new Guest();
  {
    await using disk = await open({ bucket, options: parent });
    for (const [at, length] of [
      [PAGE - 10 * MIB, 20 * MIB],
      [2 * PAGE + 4096, 5 * MIB],
      [0, MIB],
    ] as const)
      for (let done = 0; done < length; done += MIB) await guest.write(disk.device, at + done, MIB);
    await disk.device.flush!(0);
  }
  await operate(bucket, (operation) => createSnapshot(operation, 'one'), parent);
  const clone = { ...options, prefix: 'disks/b' };
  await operate(bucket, (operation) => cloneVolume(operation, 'one', settings(clone)), parent);
  return { bucket, options: clone, guest };
}

async function open(
  { bucket, options }: Pick<Clone, 'bucket' | 'options'>,
  gate?: FakeStore['gate'],
  how: Partial<OpenContext> = {},
) {
  const store = new FakeStore(bucket);
  store.gate = gate;
  const { stop, ...ctx } = context({ baseDir: folder.path, ...how });
  const device = await openVolume(store, settings(options), ctx, HASTE);
  const close = async (): Promise<void> => device[Symbol.asyncDispose]();
  return {
    ...{ store, device, logger: ctx.logger },
    state: (): unknown => device.status!()['flatten'],
    /** As when the process is killed. Its journal as it is then is another file. */
    async die(): Promise<Record<string, unknown>> {
      const journal = options['journal'] as { readonly path: string } | undefined;
      const left = journal && journalled(`${journal.path}-`);
      if (left !== undefined) copyFileSync(folder.file(journal!.path), folder.file(left.journal.path));
      store.kill();
      stop();
      await close().catch(() => undefined);
      return left ?? {};
    },
    [Symbol.asyncDispose]: close,
  };
}

const journalled = (path: string) => ({ flush: 'local', journal: { path, size: '32MiB' } });

const flattening = (clone: Clone) => ({ ...clone, options: { ...clone.options, flatten: true } });

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(2);
}

/** As a person who needs the parent no more. */
async function removeParent({ bucket, options }: Clone): Promise<void> {
  const parent = { ...options, prefix: 'disks/a', flush: 'remote', journal: undefined };
  await operate(bucket, (operation) => deleteSnapshot(operation, 'one'), parent);
  await operate(
    bucket,
    (operation) => deleteVolume(operation, { force: false, progress: () => undefined }),
    parent,
  );
  expect([...bucket.objects.keys()].filter((key) => !key.startsWith('disks/b/'))).toEqual([]);
}

/** Processes that died may have left what nobody needs. */
async function expectSound(clone: Clone, havingDied = false): Promise<void> {
  const { findings } = await operate(
    clone.bucket,
    (operation) => checkVolume(operation, { data: true, repair: false, progress: () => undefined }),
    clone.options,
  );
  expect(findings.filter(({ severity }) => !havingDied || severity === 'error')).toEqual([]);
  await using disk = await open(clone);
  expect(await clone.guest.sees(disk.device)).toBe(true);
}

const ofParent = (operation: string, key: string): boolean =>
  operation === 'read' && key.startsWith('disks/a/log/');

describe('a clone that is flattened while it is in use', () => {
  it.each<[string, number, () => Record<string, unknown>]>([
    ['', 1, () => ({})],
    [', with little memory', 2, () => ({ writeBuffer: '1MiB', mapCache: 0, readCache: 0 })],
    [', compressed and encrypted', 3, () => ({ compression: 'zstd', encryption: keyFile('background') })],
    [', with a journal', 4, () => journalled('lives')],
  ])('holds what its guest wrote, and needs its parent no more%s', async (_how, seed, options) => {
    const clone = await cloned(options());
    const random = randomFrom(seed);
    {
      await using disk = await open(flattening(clone));
      const { device, state } = disk;
      // The guest goes on until it is over, and a little longer, mostly where there is something to be copied.
      for (let more = 0; more < 20; more += state() === 'done' ? 1 : 0) {
        const at = [PAGE - 10 * MIB, 2 * PAGE, 0, PAGE][random(4)]! + random(4096) * 4096 + random(2) * 512;
        const length = 512 * (1 + random(64));
        const draw = random(10);
        if (draw < 5) await clone.guest.write(device, at, length);
        else if (draw < 6) await clone.guest.zero(device, at, random(8) * MIB + 512);
        else if (draw < 8) await device.flush!(0);
        else
          expect(
            sameBytes(await readAll(device, at, length), clone.guest.content.subarray(at, at + length)),
          ).toBe(true);
        await delay(random(3));
      }
      expect(await clone.guest.sees(device)).toBe(true);
      await device.flush!(0);
    }
    const { head } = await operate(clone.bucket, readVolume, clone.options);
    expect(head.head.isFlat).toBe(true);
    await removeParent(clone);
    await expectSound(clone);
  });

  it.each<[string, number, () => Record<string, unknown>]>([
    ['', 5, () => ({ writeBuffer: '1MiB' })],
    [', with a journal', 6, () => ({ writeBuffer: '1MiB', ...journalled('dies') })],
  ])('holds what was flushed when its processes die%s', async (_how, seed, options) => {
    const random = randomFrom(seed);
    const clone = await cloned(options());
    let isLast = false;
    for (let round = 0; !isLast; round++) {
      isLast = round === 4;
      const disk = await open(flattening(clone), () => (random(4) === 0 ? delay(random(4)) : undefined), {
        takeOver: true,
      });
      expect(await clone.guest.sees(disk.device), `round ${round}`).toBe(true);
      for (let i = 0; i < 30; i++) {
        const at = [PAGE - 10 * MIB, 2 * PAGE, 0, PAGE][random(4)]! + random(4096) * 4096;
        await clone.guest.write(disk.device, at, 512 * (1 + random(64)));
        if (random(3) === 0) await disk.device.flush!(0);
        if (random(2) === 0) await delay(random(3));
      }
      await disk.device.flush!(0);
      if (isLast) {
        await until(() => disk.state() === 'done');
        await disk[Symbol.asyncDispose]();
      } else clone.options = { ...clone.options, ...(await disk.die()) };
    }
    await removeParent(clone);
    await expectSound(clone, true);
  });

  it('keeps what was written while the same blocks were on their way', async () => {
    const clone = await cloned();
    const places = [0, MIB - BLOCK, PAGE, 2 * PAGE + 4096];
    let write: (() => Promise<void>) | undefined;
    await using disk = await open(flattening(clone), (operation, key) => {
      if (!ofParent(operation, key) || write === undefined) return undefined;
      const now = write;
      write = undefined;
      return now();
    });
    write = async () => {
      for (const at of places) await clone.guest.write(disk.device, at, BLOCK);
      await clone.guest.zero(disk.device, PAGE + MIB, 64 * 1024);
    };
    await until(() => disk.state() === 'done');
    expect(write).toBeUndefined();
    expect(await clone.guest.sees(disk.device)).toBe(true);
    await disk.device.flush!(0);
    await disk[Symbol.asyncDispose]();
    await removeParent(clone);
    await expectSound(clone);
  });

  it('goes on where it was stopped, and stops at once', async () => {
    const clone = await cloned();
    const bytes: number[] = [];
    // The first one is stopped while a request is on its way that nobody answers.
    const asked = new EventTarget();
    let requests = 0;
    const first = await open(flattening(clone), (operation, key) => {
      if (!ofParent(operation, key) || ++requests < 8) return undefined;
      asked.dispatchEvent(new Event('asked'));
      return new Promise<void>(() => undefined);
    });
    if (requests < 8) await once(asked, 'asked');
    await first[Symbol.asyncDispose]();
    for (const _ of [1, 2]) {
      await using disk = await open(flattening(clone));
      await until(() => disk.state() === 'done');
      const reads = disk.store.requests.filter(({ operation, key }) => ofParent(operation, key));
      bytes.push(reads.reduce((sum, request) => sum + request.bytes, 0));
    }
    expect(bytes[0]).toBeLessThan(26 * MIB);
    expect(bytes[1]).toBe(0);
    await removeParent(clone);
    await expectSound(clone);
  });

  it('needs its parent for as long as a snapshot of it does, and says so once', async () => {
    const clone = await cloned();
    await operate(clone.bucket, (operation) => createSnapshot(operation, 'mine'), clone.options);
    {
      await using disk = await open(flattening(clone));
      await until(() => disk.state() === 'waiting: snapshots need the parent: "mine"');
      expect(disk.logger.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
      expect(disk.store.count('read', 'disks/a/log/')).toBe(0);
      await clone.guest.write(disk.device, PAGE, MIB);
      await disk.device.flush!(0);
    }
    await operate(clone.bucket, (operation) => deleteSnapshot(operation, 'mine'), clone.options);
    {
      await using disk = await open(flattening(clone));
      await until(() => disk.state() === 'done');
      // Of what needs the parent no more, as well.
      await disk.device.snapshot!('later');
    }
    await removeParent(clone);
    await expectSound(clone);
  });

  it('has its parent until the end when somebody makes a snapshot meanwhile', async () => {
    const clone = await cloned();
    let snapshot: Promise<unknown> | undefined;
    await using disk = await open(flattening(clone), (operation, key) => {
      if (ofParent(operation, key)) snapshot ??= disk.device.snapshot?.('meanwhile');
      return undefined;
    });
    await until(() => disk.state() === 'waiting: snapshots need the parent: "meanwhile"');
    await snapshot;
    await disk[Symbol.asyncDispose]();
    const { details } = await operate(clone.bucket, volumeInfo, clone.options);
    // All of it was copied, and it is a clone all the same.
    expect(details).toMatchObject({ clone: 'of "one" of disks/a', 'bytes of the parent': 0 });
    await expectSound(clone);
  });

  it('never takes what cannot be read for zeros, copies the rest, and tries again', async () => {
    const clone = await cloned();
    const lost = [...clone.bucket.objects.keys()].find((key) => key.startsWith('disks/a/log/'))!;
    const object = clone.bucket.objects.get(lost)!;
    clone.bucket.objects.delete(lost);
    const logger = new MemoryLogger();
    await operate(
      clone.bucket,
      async ({ store, config }) => {
        const { record } = await readVolume({ store, config, ctx: context() });
        await withWriter({ store, config, ctx: context() }, async (writer, source, frames) => {
          const again = { baseMs: 5, maxMs: 5 };
          const isBusy = () => false;
          const flatten = new BackgroundFlatten({
            ...{ writer, source, frames, record, config, logger, isBusy, again },
          });
          await until(
            () => logger.lines.filter(({ message }) => message.includes('trying again')).length > 2,
          );
          expect(flatten.status()['flatten']).toMatch(/trying again|left/);
          clone.bucket.objects.set(lost, object);
          await flatten.over;
          expect(flatten.status()).toEqual({ flatten: 'done' });
          await flatten.stop();
        });
      },
      clone.options,
    );
    expect(logger.lines.some(({ message }) => message.includes('cannot be read'))).toBe(true);
    await removeParent(clone);
    await expectSound(clone);
  });

  it('ends when somebody else has taken the volume', async () => {
    const clone = await cloned();
    let wait: Promise<void> | undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    const disk = await open(flattening(clone), (operation, key) => {
      if (!ofParent(operation, key)) return undefined;
      wait ??= promise;
      return wait;
    });
    await until(() => wait !== undefined);
    {
      const store = new FakeStore(clone.bucket);
      const ctx = context({ takeOver: true });
      await using other = await openVolume(store, settings(flattening(clone).options), ctx, HASTE);
      await until(() => other.status!()['flatten'] === 'done');
      resolve();
      await until(() => disk.device.status!()['state'] === 'FENCED');
    }
    await disk[Symbol.asyncDispose]();
    await removeParent(clone);
    await expectSound(clone);
  });

  it('says nothing, and does nothing, of a volume that is no clone, and on a disk that is read-only', async () => {
    const bucket = await newVolume(SIZE);
    await using disk = await open({ bucket, options: { flatten: true } });
    expect(disk.state()).toBeUndefined();
    const clone = await cloned();
    const store = new FakeStore(clone.bucket);
    await using reading = await openVolume(
      store,
      settings(flattening(clone).options),
      context({ readOnly: true }),
      HASTE,
    );
    expect(reading.status!()['flatten']).toBeUndefined();
  });
});
