import { listPage } from '../../s3-server/listing.ts';
import { ObjectStore } from '../../s3-server/object-store.ts';

/** Objects of one kind in a bucket. */
export interface InventoryLine {
  /** `disks/demo/chunk/`, or the key of a single object. */
  readonly name: string;
  readonly objects: number;
  readonly bytes: number;
}

/** What lies in a bucket, by folder; read from the server's folder while no server runs on it. */
export async function takeInventory(dataDir: string, bucketName: string): Promise<InventoryLine[]> {
  await using store = await ObjectStore.open({ dataDir, fsync: false, maxObjects: 1_000_000 });
  const bucket = store.bucket(bucketName);
  const query = { prefix: '', delimiter: '', after: undefined, maxKeys: bucket.size };
  const lines = new Map<string, InventoryLine>();
  for (const key of listPage(bucket, query).keys) {
    // Chunks and pages of the map are many and alike; the other objects stand for themselves.
    const name = /^(.*\/)[0-9a-f]+$/.exec(key)?.[1] ?? key;
    const { objects = 0, bytes = 0 } = lines.get(name) ?? {};
    lines.set(name, { name, objects: objects + 1, bytes: bytes + bucket.head(key).size });
  }
  return [...lines.values()];
}
