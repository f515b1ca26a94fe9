import { crc32 } from 'node:zlib';
import { inParallel, type Progress } from '../../../../core/plugin.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { readHeader } from '../cache/frame-cache.ts';
import type { VolumeKey } from '../encryption/volume-key.ts';
import { FrameCodec } from '../frames/frame-codec.ts';
import { FrameTable } from '../frames/frame-table.ts';
import { firstBlockOf, isPiece } from '../image/pieces.ts';
import type { LogNames } from '../names.ts';
import {
  BLOCK,
  FRAME_BLOCKS,
  hashHeader,
  type ObjectHeader,
  sizeProblem,
  uuidBytes,
} from '../object-header.ts';
import { type LogRecord, readRecord } from '../volume/volume-record.ts';
import { AT_ONCE } from './at-once.ts';
import { identityProblem } from './log-tail.ts';
import type { NeededObject, NeededObjects, Use } from './needed.ts';
import { readable } from './readable.ts';
import type { Blocks, Report } from './report.ts';

/** Frames of one GET. */
const MAX_FRAMES = 128;
/** A damaged answer is asked for once more: it may be the way and not the store. */
const ATTEMPTS = 2;

export interface ObjectsOptions {
  readonly store: ObjectStore;
  readonly names: LogNames;
  /** Of a volume that is encrypted. */
  readonly key: VolumeKey | undefined;
  readonly record: Pick<LogRecord, 'uuid'>;
  readonly needed: NeededObjects;
  /** Read what they hold as well. */
  readonly data: boolean;
  readonly progress: Progress;
  readonly report: Report;
}

/** What ties an object to the one before it. */
export interface ChainLink {
  readonly object: NeededObject;
  readonly previous: Buffer;
  readonly hash: Buffer;
}

/** Every object that is needed: there, whole, what its name says, and with what the maps look for in it. By key. */
export async function checkObjects(options: ObjectsOptions): Promise<Map<string, ChainLink>> {
  const { store, names, record, needed, data, progress, report } = options;
  const codec = new FrameCodec('none', options.key);
  const links = new Map<string, ChainLink>();
  const volumes = new Map([[names.root, Promise.resolve<Buffer | undefined>(uuidBytes(record.uuid))]]);
  const volumeAt = (place: LogNames): Promise<Buffer | undefined> => {
    let uuid = volumes.get(place.root);
    if (uuid === undefined) {
      uuid = readable(() => readRecord(store, place)).then((found) => found && uuidBytes(found.uuid));
      volumes.set(place.root, uuid);
    }
    return uuid;
  };
  let done = 0;
  await inParallel(needed.values(), AT_ONCE, async (object) => {
    if (isPiece(object)) checkPiece(object);
    else if (!object.isBad) await check(object, await volumeAt(object.names));
    progress(++done, needed.size);
  });
  return links;

  /** Whether the image is there is said once, for all of it. */
  function checkPiece(object: NeededObject): void {
    const first = firstBlockOf(object.place);
    const misplaced = [...needed.usesOf(object)].filter(({ lba, block }) => lba !== first + block);
    if (misplaced.length > 0)
      report.error(object.key, 'a map says that blocks of the image are where it has others', misplaced);
  }

  async function check(object: NeededObject, volume: Buffer | undefined): Promise<void> {
    const { key } = object;
    report.count('objects');
    const found = await readHeader(store, { name: key, key: options.key });
    const fail = (what: string): void => report.error(key, what, [...needed.usesOf(object)]);
    if (found === undefined) return fail('it is missing');
    if (typeof found === 'string') return fail(`it is damaged: ${found}`);
    const { header, bytes, size } = found;
    const wrong =
      volume === undefined
        ? 'the volume that it belongs to is not there any more'
        : (identityProblem(header, volume, object.place) ?? shapeProblem(object, header, bytes.length, size));
    if (wrong !== undefined) return fail(wrong);
    links.set(key, { object, previous: Buffer.from(header.previous), hash: hashHeader(bytes) });
    const misplaced = misplacedUses(header, needed.usesOf(object));
    if (misplaced.length > 0)
      report.error(key, 'a map says that it holds blocks which it does not hold there', misplaced);
    if (!data) return;
    const bad = await damagedFrames(store, codec, key, header, bytes.length);
    report.count('bytes of data', header.blocks * BLOCK);
    if (bad === undefined) return fail('it is missing');
    if (bad.size === 0) return;
    const what = `${bad.size} of its ${header.frames.length} frames are damaged`;
    const affected = usesOfFrames(needed.usesOf(object), bad);
    if (affected.length > 0) report.error(key, what, affected);
    else report.warning([key], `${what}; no block of the disk comes from there`);
  }
}

function shapeProblem(
  { blocks }: NeededObject,
  header: ObjectHeader,
  headerBytes: number,
  size: number,
): string | undefined {
  if (blocks !== undefined && header.blocks !== blocks)
    return `it holds ${header.blocks} blocks, and a checkpoint says ${blocks}`;
  return sizeProblem(header, headerBytes, size);
}

/** Blocks that a map looks for where the object has others. */
function misplacedUses(header: ObjectHeader, uses: Iterable<Use>): Blocks[] {
  const lbas = new Float64Array(header.blocks).fill(-1);
  for (const { kind, lba, blocks, block } of header.extents)
    if (kind !== 'zero') for (let i = 0; i < blocks; i++) lbas[block + i] = lba + i;
  const misplaced: Blocks[] = [];
  for (const { view, lba, count, block } of uses)
    for (let i = 0; i < count; i++)
      if (lbas[block + i] !== lba + i) misplaced.push({ view, lba: lba + i, count: 1 });
  return misplaced;
}

/** Undefined: the object is gone. */
async function damagedFrames(
  store: ObjectStore,
  codec: FrameCodec,
  key: string,
  { blocks, frames, cipher }: ObjectHeader,
  headerBytes: number,
): Promise<Set<number> | undefined> {
  const table = new FrameTable(blocks, frames, cipher);
  const isWhole = async (frame: number, stored: Buffer): Promise<boolean> => {
    if (crc32(stored) !== table.crc(frame)) return false;
    return await Promise.resolve(codec.decode(stored, table, frame)).then(
      () => true,
      () => false,
    );
  };
  const bad = new Set<number>();
  for (let first = 0; first < frames.length; first += MAX_FRAMES) {
    const end = Math.min(frames.length, first + MAX_FRAMES);
    const from = table.start(first);
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const bytes = Buffer.alloc(table.start(end) - from);
      if ((await store.read(key, headerBytes + from, [bytes])) === undefined) return undefined;
      const wrong: number[] = [];
      for (let frame = first; frame < end; frame++)
        if (!(await isWhole(frame, bytes.subarray(table.start(frame) - from, table.start(frame + 1) - from))))
          wrong.push(frame);
      if (wrong.length > 0 && attempt < ATTEMPTS) continue;
      for (const frame of wrong) bad.add(frame);
      break;
    }
  }
  return bad;
}

function usesOfFrames(uses: Iterable<Use>, frames: ReadonlySet<number>): Blocks[] {
  const affected: Blocks[] = [];
  for (const { view, lba, count, block } of uses)
    for (let i = 0; i < count; i++)
      if (frames.has(Math.floor((block + i) / FRAME_BLOCKS))) affected.push({ view, lba: lba + i, count: 1 });
  return affected;
}
