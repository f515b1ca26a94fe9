import { IoFlag, type MaybePromise, type Volume } from '../../api/device.ts';
import { BlockError, GatewayError } from '../../api/errors.ts';
import { inParallel } from '../../util/in-parallel.ts';

/** One request. Bytes. */
const PIECE = 2 ** 20;
/** Requests at a time. */
const AT_ONCE = 8;
/** After so much everything is flushed, and can be resumed from. Bytes. */
const WINDOW = 64 * PIECE;

export interface CopyOptions {
  /** How much of the target is to be made so. Bytes. */
  readonly size: number;
  /** Copied and durable already, by an earlier attempt. Bytes. */
  readonly done: number;
  /** Nobody can have changed that since: otherwise it is compared, and copied where it differs. */
  readonly isSame: boolean;
  /** Everything before `done` is durable. */
  readonly onDurable: (done: number) => Promise<void>;
  readonly progress: (done: number, total: number) => void;
  readonly signal: AbortSignal;
}

interface Piece {
  readonly offset: number;
  readonly length: number;
  /** The source says that it is zeros. */
  readonly isHole: boolean;
}

/**
 * Makes the first `size` bytes of `target` what `source` is, and zeros where that ends. What is zeros already is left alone
 * where `target` knows. Durable when it settles.
 */
export async function copyImage(source: Volume, target: Volume, options: CopyOptions): Promise<void> {
  const { signal, progress, onDurable, size } = options;
  for (let at = options.isSame ? options.done : 0; at < size; at += WINDOW) {
    const end = Math.min(size, at + WINDOW);
    const isCopied = at < options.done;
    let done = at;
    await inParallel(await pieces(source, at, end), AT_ONCE, async (piece) => {
      signal.throwIfAborted();
      if (!isCopied || (await differs(source, target, piece)) !== undefined)
        await copyPiece(source, target, piece);
      done += piece.length;
      progress(done, size);
    });
    await target.flush(0);
    await onDurable(Math.max(end, options.done));
  }
  await target.flush(0);
}

/** Reads both, and throws `copy.different` at the first byte that is not the same. */
export async function compareImages(
  source: Volume,
  target: Volume,
  { progress, signal, size }: Pick<CopyOptions, 'progress' | 'signal' | 'size'>,
): Promise<void> {
  for (let at = 0; at < size; at += WINDOW) {
    const end = Math.min(size, at + WINDOW);
    let done = at;
    const differences: number[] = [];
    await inParallel(await pieces(source, at, end), AT_ONCE, async (piece) => {
      signal.throwIfAborted();
      const difference = await differs(source, target, piece);
      if (difference !== undefined) differences.push(difference);
      done += piece.length;
      progress(done, size);
    });
    if (differences.length === 0) continue;
    throw new GatewayError(
      'copy.different',
      `The copy differs from its source at byte ${Math.min(...differences)}.`,
      {
        why: 'One of them was changed meanwhile, or a store does not keep what it is given.',
        fix: 'Make sure that nobody uses either of them, and copy again.',
      },
    );
  }
}

/** The first byte that is not the same, if there is one. */
async function differs(
  source: Volume,
  target: Volume,
  { offset, length, isHole }: Piece,
): Promise<number | undefined> {
  const is = Buffer.alloc(length);
  const should = Buffer.alloc(length);
  await Promise.all([
    named('the target', offset, () => target.read(offset, [is], 0)),
    isHole ? undefined : readSource(source, offset, should),
  ]);
  return is.equals(should) ? undefined : offset + firstDifference(is, should);
}

async function copyPiece(source: Volume, target: Volume, { offset, length, isHole }: Piece): Promise<void> {
  if (!isHole) {
    const data = Buffer.alloc(length);
    await readSource(source, offset, data);
    if (!isZero(data)) return await named('the target', offset, () => target.write(offset, [data], 0));
  }
  if (await isHoleOf(target, offset, length)) return;
  await named('the target', offset, () => target.writeZeroes(offset, length, IoFlag.MAY_UNMAP));
}

/** What is behind the end of the source is zeros. */
async function readSource(source: Volume, offset: number, into: Buffer): Promise<void> {
  const length = Math.min(into.length, source.size - offset);
  if (length > 0) await named('the source', offset, () => source.read(offset, [into.subarray(0, length)], 0));
}

/** From `at` to `end`, none larger than one request. */
async function pieces(source: Volume, at: number, end: number): Promise<Piece[]> {
  const found: Piece[] = [];
  const add = (from: number, to: number, isHole: boolean): void => {
    for (let offset = from; offset < to; offset += PIECE)
      found.push({ offset, length: Math.min(PIECE, to - offset), isHole });
  };
  const stop = Math.min(end, source.size);
  if (at < stop)
    for (const { offset, length, kind } of await source.extents(at, stop - at))
      add(offset, offset + length, kind !== 'data');
  if (Math.max(at, stop) < end) add(Math.max(at, stop), end, true);
  return found;
}

async function isHoleOf(target: Volume, offset: number, length: number): Promise<boolean> {
  if (!target.caps.extents) return false;
  return (await target.extents(offset, length)).every(({ kind }) => kind !== 'data');
}

/** Says which side failed, and where. */
async function named(side: string, offset: number, call: () => MaybePromise<void>): Promise<void> {
  try {
    await call();
  } catch (cause) {
    if (!BlockError.is(cause)) throw cause;
    throw new GatewayError('copy.failed', `Copying failed at byte ${offset} of ${side}.`, {
      why: cause.message,
      fix: 'Mend that, and run the command again with --resume: it goes on where everything was durable.',
      cause,
    });
  }
}

function isZero(data: Buffer): boolean {
  return data[0] === 0 && data.subarray(1).equals(data.subarray(0, -1));
}

function firstDifference(a: Buffer, b: Buffer): number {
  let at = 0;
  while (a[at] === b[at]) at++;
  return at;
}
