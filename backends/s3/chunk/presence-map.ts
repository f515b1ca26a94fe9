import { Bitmap, GatewayError, settleAll } from '../../../core/plugin.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { Layout } from './layout.ts';
import { CHUNKS_PER_PAGE, decodeMapPage, encodeMapPage, MAP_PAGE_BYTES } from './map-page.ts';
import type { OwnedObjects } from './owned-objects.ts';

interface PageState {
  etag: string;
  sequence: number;
  /** Changed since the last time it was written. */
  dirty: boolean;
  writing: boolean;
}

export function pageCount(chunks: number): number {
  return Math.ceil(chunks / CHUNKS_PER_PAGE);
}

/** A page in which no chunk exists. */
export function emptyPage(volume: string, page: number): Uint8Array {
  return encodeMapPage({ volume, page, sequence: 0, bits: new Uint8Array(CHUNKS_PER_PAGE / 8) });
}

/**
 * Which chunks exist: the reason why a chunk that is missing from the bucket is an error and not zeros. Kept in memory
 * as a whole (2 MiB for 16 TiB in chunks of 1 MiB), in the bucket in pages.
 *
 * Two orders make it safe against a crash at any moment. A chunk is stored before the page that says it exists: in
 * between, the object is there but unknown, its content was never flushed, and the chunk reads as the zeros it was
 * before. A page that says a chunk is gone is stored before the object is deleted: in between, the object is an
 * orphan, never read, and a later write of the chunk replaces it as a whole.
 */
export class PresenceMap {
  readonly #volume: string;
  readonly #layout: Layout;
  readonly #bits: Bitmap;
  readonly #pages: PageState[];

  private constructor(volume: string, layout: Layout, bits: Bitmap, pages: PageState[]) {
    this.#volume = volume;
    this.#layout = layout;
    this.#bits = bits;
    this.#pages = pages;
  }

  /** Reads every page. Each must be there: a volume is created with all of them. */
  static async load(
    store: ObjectStore,
    layout: Layout,
    volume: string,
    chunks: number,
  ): Promise<PresenceMap> {
    const bits = new Bitmap(chunks);
    const pages = await Promise.all(
      Array.from({ length: pageCount(chunks) }, (_, page) => loadPage(store, layout, volume, page, bits)),
    );
    return new PresenceMap(volume, layout, bits, pages);
  }

  /** Takes in the pages of a volume that has grown to so many chunks. */
  async grow(store: ObjectStore, chunks: number): Promise<void> {
    this.#bits.grow(chunks);
    const first = this.#pages.length;
    const more = Array.from({ length: Math.max(0, pageCount(chunks) - first) }, (_, i) =>
      loadPage(store, this.#layout, this.#volume, first + i, this.#bits),
    );
    this.#pages.push(...(await Promise.all(more)));
  }

  /** Chunks that exist. */
  get count(): number {
    return this.#bits.count;
  }

  has(chunk: number): boolean {
    return this.#bits.has(chunk);
  }

  /** The first chunk in [from, to) that exists, or -1. */
  next(from: number, to: number): number {
    return this.#bits.next(from, to);
  }

  add(chunk: number): void {
    if (this.#bits.set(chunk)) this.#pageOf(chunk).dirty = true;
  }

  remove(chunk: number): void {
    if (this.#bits.clear(chunk)) this.#pageOf(chunk).dirty = true;
  }

  get dirty(): boolean {
    return this.#pages.some(({ dirty, writing }) => dirty || writing);
  }

  /** True when the bucket knows what we know about this chunk. */
  isPersisted(chunk: number): boolean {
    const { dirty, writing } = this.#pageOf(chunk);
    return !dirty && !writing;
  }

  /** Stores every page that changed. One call at a time. A page that could not be stored stays dirty. */
  async persist(objects: OwnedObjects): Promise<void> {
    await settleAll(
      this.#pages.map((state, page) => (state.dirty ? this.#write(objects, state, page) : undefined)),
    );
  }

  async #write(objects: OwnedObjects, state: PageState, page: number): Promise<void> {
    state.dirty = false;
    state.writing = true;
    state.sequence++;
    const bits = this.#bits.exportBytes(page * CHUNKS_PER_PAGE, CHUNKS_PER_PAGE / 8);
    const body = encodeMapPage({ volume: this.#volume, page, sequence: state.sequence, bits });
    try {
      state.etag = await objects.put(this.#layout.mapPage(page), body, { etag: state.etag });
    } catch (error) {
      state.dirty = true;
      throw error;
    } finally {
      state.writing = false;
    }
  }

  #pageOf(chunk: number): PageState {
    return this.#pages[Math.floor(chunk / CHUNKS_PER_PAGE)]!;
  }
}

async function loadPage(
  store: ObjectStore,
  layout: Layout,
  volume: string,
  page: number,
  bits: Bitmap,
): Promise<PageState> {
  const key = layout.mapPage(page);
  const object = await store.get(key, MAP_PAGE_BYTES);
  const decoded = object === undefined ? 'it is missing' : decodeMapPage(object.body);
  const problem = typeof decoded === 'string' ? decoded : misplaced(decoded, volume, page);
  if (problem !== undefined || typeof decoded === 'string') {
    throw unreadable(key, problem ?? '');
  }
  if (!bits.importBytes(page * CHUNKS_PER_PAGE, decoded.bits)) {
    throw unreadable(key, 'it lists chunks beyond the end of the volume');
  }
  return { etag: object!.info.etag, sequence: decoded.sequence, dirty: false, writing: false };
}

function misplaced(
  decoded: { readonly volume: string; readonly page: number },
  volume: string,
  page: number,
): string | undefined {
  if (decoded.volume !== volume) return `it belongs to volume ${decoded.volume}`;
  return decoded.page === page ? undefined : `it is page ${decoded.page}`;
}

function unreadable(key: string, why: string): GatewayError {
  return new GatewayError('volume.map-unreadable', `The presence map ${key} cannot be used: ${why}.`, {
    why: 'Without it, lost chunks could not be told from those never written.',
    fix: 'Restore the object from a backup or an older version.',
  });
}
