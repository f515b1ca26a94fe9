import { isStoreError } from '../store/store-error.ts';
import { encodeFence, type Signature } from './batch.ts';
import { readHeader } from './cache/frame-cache.ts';
import { corrupt } from './corrupt.ts';
import type { LogSource } from './log-source.ts';
import { type ObjectHeader, sizeProblem } from './object-header.ts';

/**
 * Names that are fenced at once, from the first gap on. A writer never has more than `MAX_IN_FLIGHT` objects on their way,
 * counted from the first that is not stored, and that is less: after one round it can have none behind the fence.
 */
export const FENCE_WINDOW = 16;
/** Headers that are asked for at once: of an epoch that may be short, fewer at first. */
const AHEAD = 64;
const FIRST_AHEAD = 8;

/** An object as a recovery sees it. */
export interface FoundObject {
  readonly header: ObjectHeader;
  /** Bytes of its header. */
  readonly bytes: Buffer;
}

/** The objects `from` … `end` of a closed epoch. Throws `volume.corrupt` when one is missing or damaged. */
export async function readObjects(
  source: LogSource,
  epoch: number,
  from: number,
  end: number,
): Promise<FoundObject[]> {
  const found: FoundObject[] = [];
  for (let seq = from; seq <= end; seq += AHEAD) {
    const last = Math.min(end, seq + AHEAD - 1);
    const places = Array.from({ length: last - seq + 1 }, (_, i) =>
      source.names.object({ epoch, seq: seq + i }),
    );
    const some = await Promise.all(places.map((key) => look(source, key)));
    for (const [i, object] of some.entries()) {
      if (object === undefined) throw corrupt(places[i]!, 'it is missing');
      found.push(object);
    }
  }
  return found;
}

/**
 * The objects of an epoch that was left open, from `from` on: up to the first gap, which `fence` closes for good. Without
 * `fence` (a read-only disk) its writer may go on.
 */
export async function readOpenEpoch(
  source: LogSource,
  epoch: number,
  from: number,
  fence: Signature | undefined,
): Promise<FoundObject[]> {
  const found: FoundObject[] = [];
  for (let seq = from, ahead = FIRST_AHEAD; ; ahead = AHEAD) {
    const some = await Promise.all(
      Array.from({ length: ahead }, (_, i) => look(source, source.names.object({ epoch, seq: seq + i }))),
    );
    const gap = some.findIndex((object) => object === undefined || object.header.isFence);
    const run = (gap < 0 ? some : some.slice(0, gap)) as FoundObject[];
    found.push(...run);
    seq += run.length;
    if (gap < 0) continue;
    if (some[gap] !== undefined || fence === undefined) return found;
    // All names that the writer may have on their way are decided in one round: those behind the first fence never count.
    const window = await Promise.all(
      Array.from({ length: FENCE_WINDOW }, (_, i) => fenceOff(source, epoch, seq + i, fence)),
    );
    const end = window.indexOf('fence');
    const late = (end < 0 ? window : window.slice(0, end)) as FoundObject[];
    found.push(...late);
    seq += late.length;
    if (end >= 0) return found;
  }
}

/** Puts a fence there, unless something is: returns that. */
async function fenceOff(
  source: LogSource,
  epoch: number,
  seq: number,
  signature: Signature,
): Promise<FoundObject | 'fence'> {
  const { store, names, key } = source;
  const name = names.object({ epoch, seq });
  try {
    const fence = encodeFence(signature, { epoch, seq }, { name, key });
    await store.put(name, fence, { condition: 'absent' });
    return 'fence';
  } catch (error) {
    if (!isStoreError(error, 'precondition-failed')) throw error;
  }
  const there = await look(source, name);
  if (there === undefined) throw corrupt(name, 'it was there, and is not any more');
  return there.header.isFence ? 'fence' : there;
}

/** Undefined: there is none. Throws `volume.corrupt` when it is damaged. */
async function look({ store, key }: LogSource, name: string): Promise<FoundObject | undefined> {
  const found = await readHeader(store, { name, key });
  if (typeof found === 'string') throw corrupt(name, found);
  const wrong = found && sizeProblem(found.header, found.bytes.length, found.size);
  if (wrong !== undefined) throw corrupt(name, wrong);
  return found;
}
