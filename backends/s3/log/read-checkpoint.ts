import type { ObjectStore } from '../store/object-store.ts';
import { type Checkpoint, decodeCheckpoint } from './checkpoint.ts';
import { corrupt } from './scan.ts';

/** Bytes. */
const MAX_CHECKPOINT = 2 ** 31;

/** Throws `volume.corrupt` when it is missing or damaged. */
export async function readCheckpoint(store: ObjectStore, key: string): Promise<Checkpoint> {
  const object = await store.get(key, MAX_CHECKPOINT);
  if (object === undefined) throw corrupt(key, 'it is missing');
  const checkpoint = decodeCheckpoint(object.body);
  if (typeof checkpoint === 'string') throw corrupt(key, checkpoint);
  return checkpoint;
}
