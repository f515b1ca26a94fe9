import { BlockError, Semaphore, settleAll } from '../../../../core/plugin.ts';
import { isStoreError } from '../../store/store-error.ts';
import type { FrameCache } from '../cache/frame-cache.ts';
import type { LogObject } from '../log-object.ts';
import { BLOCK, FRAME, FRAME_BLOCKS } from '../object-header.ts';
import { READ_BYTES } from './collection-policy.ts';

/** Blocks of the disk that lie together in an object. */
export interface LiveRun {
  readonly object: LogObject;
  readonly lba: number;
  readonly block: number;
  readonly count: number;
}

/** Frames that nobody needs are read along rather than asking twice, up to so many. */
const GAP_FRAMES = 16;
/** Requests at once: those of the guest come first. */
const AT_ONCE = 4;

interface Range {
  readonly object: LogObject;
  readonly first: number;
  /** The frame after the last. */
  end: number;
  readonly parts: { readonly run: LiveRun; readonly index: number }[];
}

/**
 * What the runs hold, in their order, with as few requests as possible. Undefined: nobody needs the object any more, or it is
 * damaged and `onDamaged` takes note of that. Rejects with a `BlockError`.
 */
export async function gather(
  frames: Pick<FrameCache, 'fetch'>,
  runs: readonly LiveRun[],
  onDamaged?: (object: LogObject) => void,
): Promise<readonly (Buffer | undefined)[]> {
  const found: (Buffer | undefined)[] = new Array(runs.length);
  const slots = new Semaphore(AT_ONCE);
  const reads = rangesOf(runs).map(async ({ object, first, end, parts }) => {
    using _slot = await slots.acquire();
    // It may have died since, and be deleted.
    if (object.live === 0) return;
    const all = await frames.fetch(object, first, end - first).catch((error: unknown) => {
      if (onDamaged === undefined || !isDamage(error)) throw error;
      onDamaged(object);
    });
    if (all === undefined) return;
    for (const { run, index } of parts) found[index] = cut(all, run.block - first * FRAME_BLOCKS, run.count);
  });
  await settleAll(reads);
  return found;
}

/** Not the store: it has answered. */
const isDamage = (error: unknown): boolean => BlockError.is(error) && !isStoreError(error.cause);

function rangesOf(runs: readonly LiveRun[]): Range[] {
  const ranges: Range[] = [];
  const sorted = [...runs.entries()].sort(([, a], [, b]) => a.object.id - b.object.id || a.block - b.block);
  for (const [index, run] of sorted) {
    const first = Math.floor(run.block / FRAME_BLOCKS);
    const end = Math.floor((run.block + run.count - 1) / FRAME_BLOCKS) + 1;
    const last = ranges.at(-1);
    const isNear =
      last?.object === run.object &&
      first <= last.end + GAP_FRAMES &&
      (end - last.first) * FRAME <= READ_BYTES;
    if (!isNear) ranges.push({ object: run.object, first, end, parts: [{ run, index }] });
    else {
      last.end = Math.max(last.end, end);
      last.parts.push({ run, index });
    }
  }
  return ranges;
}

/** `count` blocks from `block` on. */
function cut(frames: readonly Buffer[], block: number, count: number): Buffer {
  const data = Buffer.allocUnsafeSlow(count * BLOCK);
  for (let done = 0; done < count; ) {
    const frame = frames[Math.floor((block + done) / FRAME_BLOCKS)]!;
    const from = (block + done) % FRAME_BLOCKS;
    const blocks = Math.min(FRAME_BLOCKS - from, count - done);
    frame.copy(data, done * BLOCK, from * BLOCK, (from + blocks) * BLOCK);
    done += blocks;
  }
  return data;
}
