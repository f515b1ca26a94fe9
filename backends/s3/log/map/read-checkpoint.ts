import type { LogSource } from '../log-source.ts';
import { corrupt } from '../scan.ts';
import { type Checkpoint, decodeCheckpoint } from './checkpoint.ts';

/** Bytes. */
const MAX_CHECKPOINT = 2 ** 31;

/** Throws `volume.corrupt` when it is missing or damaged. */
export async function readCheckpoint(
  { store, key }: Pick<LogSource, 'store' | 'key'>,
  name: string,
): Promise<Checkpoint> {
  const object = await store.get(name, MAX_CHECKPOINT);
  if (object === undefined) throw corrupt(name, 'it is missing');
  const checkpoint = decodeCheckpoint(object.body, { name, key });
  if (typeof checkpoint === 'string') throw corrupt(name, checkpoint);
  return checkpoint;
}
