import { listPages } from '../store/list-pages.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { Garbage } from './garbage.ts';
import type { Layout } from './layout.ts';
import type { PresenceMap } from './presence-map.ts';
import type { WriteBuffer } from './write-buffer.ts';

/**
 * Finds chunk objects that the presence map does not know: what a crash left between storing a chunk and storing the
 * map, or before discarded chunks were deleted. They are never read, but paid for.
 */
export async function sweepOrphans(
  store: ObjectStore,
  layout: Layout,
  parts: { readonly map: PresenceMap; readonly buffer: WriteBuffer; readonly garbage: Garbage },
): Promise<void> {
  const { map, buffer, garbage } = parts;
  for await (const page of listPages(store, layout.chunks)) {
    for (const { key } of page.objects) {
      const chunk = layout.chunkOf(key);
      // A chunk in the buffer may be on its way to its first existence.
      if (chunk === undefined || chunk >= garbage.capacity) continue;
      if (!map.has(chunk) && buffer.find(chunk) === undefined) garbage.add(chunk);
    }
  }
  garbage.collect();
}
