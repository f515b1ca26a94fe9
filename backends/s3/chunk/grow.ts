import type { S3Config } from '../config.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { isStoreError } from '../store/store-error.ts';
import { checkNewSize } from '../volume-errors.ts';
import type { Layout } from './layout.ts';
import { decodeMapPage, MAP_PAGE_BYTES } from './map-page.ts';
import { emptyPage, pageCount } from './presence-map.ts';
import { chunkCount, readReadyVolume, type VolumeRecord, writeVolume } from './volume-record.ts';

/**
 * Grows the volume, which the caller owns: first the new pages of the map, then the size, so that an interruption
 * leaves a volume of the old size. Returns its record.
 */
export async function growVolume(
  store: ObjectStore,
  layout: Layout,
  config: S3Config,
  size: number,
): Promise<VolumeRecord> {
  const { record, etag } = await readReadyVolume(store, layout, { ...config, size: undefined });
  checkNewSize(config, record.size, size, 512);
  const grown: VolumeRecord = { ...record, size };
  await writeEmptyPages(
    store,
    layout,
    record.uuid,
    pageCount(chunkCount(record)),
    pageCount(chunkCount(grown)),
  );
  await writeVolume(store, layout, grown, etag);
  return grown;
}

/** A page that this volume has already is kept; one that another volume left behind is replaced. */
export async function writeEmptyPages(
  store: ObjectStore,
  layout: Layout,
  volume: string,
  from: number,
  to: number,
): Promise<void> {
  const write = async (page: number) => {
    const key = layout.mapPage(page);
    for (;;) {
      const there = await store.get(key, MAP_PAGE_BYTES);
      const decoded = there && decodeMapPage(there.body);
      if (typeof decoded === 'object' && decoded.volume === volume) return;
      const condition = there === undefined ? ('absent' as const) : { etag: there.info.etag };
      try {
        await store.put(key, emptyPage(volume, page), { condition });
        return;
      } catch (error) {
        if (!isStoreError(error, 'precondition-failed')) throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: to - from }, (_, i) => write(from + i)));
}
