import type { FileHandle } from 'node:fs/promises';
import { resolve } from 'node:path';
import { z } from 'zod';
import type { PluginContext } from '../../api/backend.ts';
import { type Extent, IoFlag, type IoFlags, type IoVec, type ResolvedDevice } from '../../api/device.ts';
import { BlockError } from '../../api/errors.ts';
import { defineFilter } from '../../api/filter.ts';
import { PassThrough } from '../../block/pass-through.ts';
import { RangeLock } from '../../block/range-lock.ts';
import { iovLength, iovSlice } from '../../util/iov.ts';
import { asBlockError } from '../file-failure.ts';
import { openPrivateFile } from '../private-file.ts';
import { GRANULE, OverlayMap } from './overlay-map.ts';

const config = z.strictObject({
  file: z.string().min(1).meta({
    description:
      'Sparse file for what is written, beside which a ".map" and a ".live" are kept. Created when it is missing. Relative to plugins.json.',
  }),
});
type Config = z.output<typeof config>;

const ZEROS = new Uint8Array(64 * 1024);

/** Writes go to a file, and what is below is never changed. */
class CowLayer extends PassThrough implements AsyncDisposable {
  readonly #size: number;
  readonly #data: FileHandle;
  readonly #map: OverlayMap;
  readonly #owned: AsyncDisposableStack;
  /** A granule is filled up by one request at a time, and not read meanwhile. */
  readonly #lock = new RangeLock();

  constructor(next: ResolvedDevice, data: FileHandle, map: OverlayMap, owned: AsyncDisposableStack) {
    super(next, {
      caps: {
        write: true,
        flush: true,
        discard: true,
        writeZeroes: 'emulate',
        fua: 'emulate',
        extents: true,
        concurrency: 'parallel',
        volatile: false,
        writeCache: 'none',
      },
    });
    this.#size = next.size;
    this.#data = data;
    this.#map = map;
    this.#owned = owned;
  }

  /** The map is of the size that the disk had when it was opened. */
  override get size(): number {
    return this.#size;
  }

  override async read(offset: number, iov: IoVec, flags: IoFlags): Promise<void> {
    using _held = await this.#exclusively(offset, iovLength(iov));
    for (const { start, length, isOurs } of this.#runs(offset, iovLength(iov))) {
      const part = iovSlice(iov, start - offset, length);
      if (isOurs) await this.#readData(start, part);
      else await this.next.read(start, part, flags);
    }
  }

  override async write(offset: number, iov: IoVec, flags: IoFlags): Promise<void> {
    const length = iovLength(iov);
    using _held = await this.#exclusively(offset, length);
    await this.#fillUp(offset, length);
    await this.#writeData(offset, iov);
    // A driver's reset takes the memory away from requests that are late.
    if (iovLength(iov) < length)
      throw new BlockError('ESHUTDOWN', 'the memory of the request was taken away');
    this.#map.add(Math.floor(offset / GRANULE), this.#granules(offset, length));
    if ((flags & IoFlag.FUA) !== 0) await this.flush();
  }

  override async flush(): Promise<void> {
    await asBlockError(
      'the overlay',
      this.#map.makeDurable(() => this.#data.datasync()),
    );
  }

  /** The content is anything from now on, so it may stay what it is. */
  override discard(): void {}

  override async writeZeroes(offset: number, length: number, flags: IoFlags): Promise<void> {
    if ((flags & IoFlag.NO_FALLBACK) !== 0)
      throw new BlockError('ENOTSUP', 'the overlay has no fast way to write zeros');
    for (let at = 0; at < length; at += ZEROS.length)
      await this.write(offset + at, [ZEROS.subarray(0, Math.min(ZEROS.length, length - at))], 0);
    if ((flags & IoFlag.FUA) !== 0) await this.flush();
  }

  override async extents(offset: number, length: number): Promise<readonly Extent[]> {
    const found: Extent[] = [];
    for (const run of this.#runs(offset, length)) {
      if (run.isOurs) found.push({ offset: run.start, length: run.length, kind: 'data' });
      else found.push(...(await this.next.extents(run.start, run.length)));
    }
    return found;
  }

  /** What the overlay has is as near as it gets. */
  override async prefetch(offset: number, length: number): Promise<void> {
    for (const { start, length: bytes, isOurs } of this.#runs(offset, length))
      if (!isOurs) await this.next.prefetch(start, bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await using _owned = this.#owned;
    await this.flush();
  }

  /** Of the first and the last granule of a write, what the overlay has not got and the write does not bring. */
  async #fillUp(offset: number, length: number): Promise<void> {
    const end = offset + length;
    const first = offset - (offset % GRANULE);
    const last = end - (end % GRANULE);
    if (first < offset) await this.#copyUp(first);
    if (last < end && (last !== first || first === offset)) await this.#copyUp(last);
  }

  async #copyUp(start: number): Promise<void> {
    if (this.#map.has(start / GRANULE)) return;
    const bytes = new Uint8Array(Math.min(GRANULE, this.size - start));
    await this.next.read(start, [bytes], 0);
    await this.#writeData(start, [bytes]);
  }

  /** The parts of a range, in order, each all in the overlay or all below. */
  #runs(offset: number, length: number): { start: number; length: number; isOurs: boolean }[] {
    const runs: { start: number; length: number; isOurs: boolean }[] = [];
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const next = Math.min(end, at - (at % GRANULE) + GRANULE);
      const isOurs = this.#map.has(Math.floor(at / GRANULE));
      const last = runs.at(-1);
      if (last?.isOurs === isOurs) last.length += next - at;
      else runs.push({ start: at, length: next - at, isOurs });
      at = next;
    }
    return runs;
  }

  #granules(offset: number, length: number): number {
    return Math.ceil((offset + length) / GRANULE) - Math.floor(offset / GRANULE);
  }

  #exclusively(offset: number, length: number): Promise<Disposable> {
    const start = offset - (offset % GRANULE);
    return this.#lock.acquire(start, this.#granules(offset, length) * GRANULE);
  }

  async #readData(offset: number, iov: IoVec): Promise<void> {
    // Sparse at its end: what was never written there is not there.
    for (let at = offset, i = 0; i < iov.length; at += iov[i]!.length, i++) {
      const segment = iov[i]!;
      const { bytesRead } = await asBlockError(
        'the overlay',
        this.#data.read(segment, 0, segment.length, at),
      );
      if (bytesRead < segment.length)
        throw new BlockError('EIO', `the overlay ends at ${at + bytesRead}, and more is said to be there`);
    }
  }

  async #writeData(offset: number, iov: IoVec): Promise<void> {
    let at = offset;
    for (const segment of iov) {
      for (let done = 0; done < segment.length; ) {
        const { bytesWritten } = await asBlockError(
          'the overlay',
          this.#data.write(segment, done, segment.length - done, at + done),
        );
        done += bytesWritten;
      }
      at += segment.length;
    }
  }
}

async function openOverlay(next: ResolvedDevice, { file }: Config, ctx: PluginContext): Promise<CowLayer> {
  const path = resolve(ctx.baseDir, file);
  await using owned = new AsyncDisposableStack();
  const openFile = async (name: string): Promise<FileHandle> => {
    const handle = await openPrivateFile(name, 'overlay');
    owned.defer(() => handle.close());
    return handle;
  };
  const data = await openFile(path);
  const map = await OverlayMap.open(
    next.size,
    await openFile(`${path}.live`),
    await openFile(`${path}.map`),
    path,
  );
  return new CowLayer(next, data, map, owned.move());
}

export default defineFilter<Config>({
  name: 'cow',
  description:
    'Writes go to a file and leave the store below as it is: to try something out, or to share one image.',
  config,
  stance: {
    read: 'own',
    write: 'own',
    flush: 'own',
    discard: 'own',
    writeZeroes: 'own',
    extents: 'own',
    prefetch: 'own',
  },
  wrap: openOverlay,
});
