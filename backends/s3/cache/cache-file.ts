import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { FileIo, lockFile, sleep } from '../../../core/plugin.ts';

/**
 * The file of a cache: a page that says how it is divided, then sets. A set is a table of `WAYS` entries and as many slots,
 * each for one frame as it is stored. Where a frame may be follows from its key alone, so nothing has to be read at the
 * start, and several processes can use one file: an entry that they or a crash have torn does not match its checksums.
 * Numbers are little-endian.
 *
 *   page   0   magic "BGFRAMES", u32 version, u32 ways, u32 bytes of a slot, u32 sets, u32 CRC-32 of the 24 bytes before
 *   entry  0   16 bytes of the object's key, u32 frame, u32 stored bytes, u32 CRC-32 of these,
 *          28  u32 CRC-32 of the 28 bytes before; all zeros where the slot is empty
 */
const MAGIC = Buffer.from('BGFRAMES');
const VERSION = 1;
const PAGE = 4096;
const WAYS = 128;
const ENTRY = 32;
const TABLE = WAYS * ENTRY;
/** Frames of 128 KiB of an object are in one set, so that one look at its table finds them. */
const TOGETHER = 8;
/** A frame that did not get smaller may have got a little larger. Bytes. */
export const SLOT = 16 * 1024 + 256;
const SET = TABLE + WAYS * SLOT;
const MAX_SETS = 2 ** 25;
/** A frame is evicted after so many looks at it since its last use, at most. */
const MAX_USES = 3;
/** While another process divides the file. Milliseconds and attempts. */
const DIVIDING_MS = 20;
const DIVIDING_ATTEMPTS = 100;

interface Place {
  /** Of the frames asked for, counted from 0. */
  readonly index: number;
  readonly way: number;
}

/** What was found of a run of frames, and how many entries were damaged. */
export interface FoundFrames {
  readonly frames: (Buffer | undefined)[];
  readonly damaged: number;
}

/** Frames of objects in a file, by a key of 16 bytes for the object. Writes of one process must not overlap. */
export class CacheFile {
  /** Bytes of the whole file. */
  readonly size: number;
  readonly #file: FileHandle;
  /** What the page cache has is read in the call that asks for it. */
  readonly #io: FileIo;
  readonly #sets: number;
  /** How often what is in a slot was used, as far as this process knows. */
  readonly #uses: Uint8Array;
  /** Where the next victim of a set is looked for. */
  readonly #hands: Uint8Array;

  private constructor(file: FileHandle, path: string, sets: number) {
    this.#file = file;
    this.#io = new FileIo(file.fd, { path });
    this.#sets = sets;
    this.size = sizeOf(sets);
    this.#uses = new Uint8Array(sets * WAYS);
    this.#hands = new Uint8Array(sets);
  }

  /**
   * Opens the cache in `folder`, both made where they are missing. A cache of another size is emptied and divided anew, but
   * not while another process uses it: then it stays as it is. Throws errors of the file system, and an `Error` when what is
   * there is no cache: that is left alone.
   */
  static async open(folder: string, maxBytes: number): Promise<CacheFile> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const path = join(folder, 'frames');
    // Created when missing, never emptied.
    await (await open(path, 'a', 0o600)).close();
    const file = await open(path, 'r+');
    try {
      const wanted = setsWithin(maxBytes);
      const isAlone = (await lockFile(file.fd, path, 'exclusive')) === undefined;
      if (isAlone && (await setsOf(file)) !== wanted) {
        if (!(await isEmptyOrOurs(file))) throw noCache(path);
        await divide(file, wanted);
      }
      for (let attempt = 0; (await lockFile(file.fd, path, 'shared')) !== undefined; attempt++) {
        if (attempt === DIVIDING_ATTEMPTS) throw new Error(`${path} is locked by another process`);
        await sleep(DIVIDING_MS);
      }
      const sets = await setsOf(file);
      if (sets === undefined) throw noCache(path);
      return new CacheFile(file, path, sets);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Bytes of the file that takes at most `maxBytes`. */
  static sizeWithin(maxBytes: number): number {
    return sizeOf(setsWithin(maxBytes));
  }

  /** Frames `first` … `first` + `count` - 1, as far as they are there and whole. */
  async read(key: Buffer, first: number, count: number): Promise<FoundFrames> {
    const found: FoundFrames[] = await Promise.all(
      partsOf(first, count).map(([from, length]) => this.#readPart(key, from, length)),
    );
    return {
      frames: found.flatMap(({ frames }) => frames),
      damaged: found.reduce((sum, { damaged }) => sum + damaged, 0),
    };
  }

  /** Frames of at most `SLOT` bytes, in the place of others that were not used for longer. */
  async write(key: Buffer, first: number, frames: readonly Buffer[]): Promise<void> {
    for (const [from, length] of partsOf(first, frames.length))
      await this.#writePart(key, from, frames.slice(from - first, from - first + length));
  }

  async close(): Promise<void> {
    try {
      await this.#io[Symbol.asyncDispose]();
    } finally {
      await this.#file.close();
    }
  }

  async #readPart(key: Buffer, first: number, count: number): Promise<FoundFrames> {
    const set = this.#setOf(key, first);
    const table = await this.#table(set);
    const frames: (Buffer | undefined)[] = new Array(count).fill(undefined);
    const damaged: Place[] = [];
    const places = find(table, key, first, count);
    await Promise.all(
      runsOf(places).map(async (run) => {
        const bytes = Buffer.allocUnsafeSlow(run.length * SLOT);
        await this.#io.read(slotAt(set, run[0]!.way), [bytes]);
        for (const [i, place] of run.entries()) {
          const entry = entryOf(table, place.way);
          const end = i * SLOT + entry.readUInt32LE(20);
          const data = bytes.subarray(i * SLOT, end);
          if (crc32(data) === entry.readUInt32LE(24)) {
            frames[place.index] = data;
            const use = set * WAYS + place.way;
            this.#uses[use] = Math.min(MAX_USES, this.#uses[use]! + 1);
          } else damaged.push(place);
        }
      }),
    );
    if (damaged.length === 0) return { frames, damaged: 0 };
    // What was replaced since is no damage.
    const now = await this.#table(set);
    const isSame = ({ way }: Place) => entryOf(now, way).equals(entryOf(table, way));
    return { frames, damaged: damaged.filter(isSame).length };
  }

  async #writePart(key: Buffer, first: number, frames: readonly Buffer[]): Promise<void> {
    const set = this.#setOf(key, first);
    const table = await this.#table(set);
    const there = new Map(find(table, key, first, frames.length).map(({ index, way }) => [index, way]));
    const taken = new Set(there.values());
    const places: Place[] = [];
    for (const [index, frame] of frames.entries()) {
      const way = there.get(index);
      const entry = encodeEntry(key, first + index, frame);
      if (way === undefined) places.push({ index, way: this.#victim(set, table, taken) });
      // The same is there already, by another process or from before; it may be damaged, and is written again.
      else places.push({ index, way });
      entry.copy(table, places.at(-1)!.way * ENTRY);
      this.#uses[set * WAYS + places.at(-1)!.way] = 0;
    }
    for (const run of runsOf(places)) {
      const { way } = run[0]!;
      const entries = table.subarray(way * ENTRY, (way + run.length) * ENTRY);
      // Nobody may take what comes for what was there: the entries are gone while the slots are written.
      await this.#io.write(tableAt(set) + way * ENTRY, [Buffer.alloc(entries.length)]);
      await this.#io.write(
        slotAt(set, way),
        run.flatMap(({ index }) => [frames[index]!, PADDING.subarray(0, SLOT - frames[index]!.length)]),
      );
      await this.#io.write(tableAt(set) + way * ENTRY, [entries]);
    }
  }

  /** An empty slot, or else the next that was not used of late. */
  #victim(set: number, table: Buffer, taken: Set<number>): number {
    const start = this.#hands[set]!;
    let chosen: number | undefined;
    for (let i = 0; i < WAYS && chosen === undefined; i++) {
      const way = (start + i) % WAYS;
      if (!taken.has(way) && entryOf(table, way).readUInt32LE(20) === 0) chosen = way;
    }
    for (let way = start; chosen === undefined; way = (way + 1) % WAYS) {
      const use = set * WAYS + way;
      if (taken.has(way)) continue;
      if (this.#uses[use] === 0) chosen = way;
      else this.#uses[use]!--;
    }
    taken.add(chosen);
    this.#hands[set] = (chosen + 1) % WAYS;
    return chosen;
  }

  #setOf(key: Buffer, frame: number): number {
    const part = Math.floor(frame / TOGETHER);
    return ((Math.imul(part + 1, 0x9e3779b1) ^ key.readUInt32LE(0)) >>> 0) % this.#sets;
  }

  async #table(set: number): Promise<Buffer> {
    const table = Buffer.alloc(TABLE);
    await this.#io.read(tableAt(set), [table]);
    return table;
  }
}

const PADDING = Buffer.alloc(SLOT);
const sizeOf = (sets: number): number => PAGE + sets * SET;
const setsWithin = (bytes: number): number => Math.min(MAX_SETS, Math.floor((bytes - PAGE) / SET));
const tableAt = (set: number): number => sizeOf(set);
const slotAt = (set: number, way: number): number => tableAt(set) + TABLE + way * SLOT;
const entryOf = (table: Buffer, way: number): Buffer => table.subarray(way * ENTRY, (way + 1) * ENTRY);

/** Runs of frames that are in one set each. */
function partsOf(first: number, count: number): (readonly [first: number, count: number])[] {
  const parts: (readonly [number, number])[] = [];
  for (let at = first; at < first + count; ) {
    const end = Math.min(first + count, (Math.floor(at / TOGETHER) + 1) * TOGETHER);
    parts.push([at, end - at]);
    at = end;
  }
  return parts;
}

/** Places in adjacent slots, as runs. */
function runsOf(places: readonly Place[]): Place[][] {
  const runs: Place[][] = [];
  for (const place of [...places].sort((a, b) => a.way - b.way)) {
    const run = runs.at(-1);
    if (run !== undefined && run.at(-1)!.way === place.way - 1) run.push(place);
    else runs.push([place]);
  }
  return runs;
}

function find(table: Buffer, key: Buffer, first: number, count: number): Place[] {
  const places = new Map<number, Place>();
  for (let way = 0; way < WAYS; way++) {
    const at = way * ENTRY;
    const index = table.readUInt32LE(at + 16) - first;
    if (index < 0 || index >= count || table.compare(key, 0, 16, at, at + 16) !== 0) continue;
    const length = table.readUInt32LE(at + 20);
    if (length === 0 || length > SLOT) continue;
    if (crc32(table.subarray(at, at + 28)) === table.readUInt32LE(at + 28)) places.set(index, { index, way });
  }
  return [...places.values()];
}

function encodeEntry(key: Buffer, frame: number, data: Buffer): Buffer {
  const entry = Buffer.alloc(ENTRY);
  key.copy(entry, 0, 0, 16);
  entry.writeUInt32LE(frame, 16);
  entry.writeUInt32LE(data.length, 20);
  entry.writeUInt32LE(crc32(data), 24);
  entry.writeUInt32LE(crc32(entry.subarray(0, 28)), 28);
  return entry;
}

function encodePage(sets: number): Buffer {
  const page = Buffer.alloc(PAGE);
  MAGIC.copy(page);
  for (const [i, value] of [VERSION, WAYS, SLOT, sets].entries()) page.writeUInt32LE(value, 8 + i * 4);
  page.writeUInt32LE(crc32(page.subarray(0, 24)), 24);
  return page;
}

/** How many sets the file says that it has; undefined where it is none of ours. */
async function setsOf(file: FileHandle): Promise<number | undefined> {
  const page = Buffer.alloc(PAGE);
  await file.read(page, 0, PAGE, 0);
  const sets = page.readUInt32LE(20);
  const isOurs = sets > 0 && sets <= MAX_SETS && page.equals(encodePage(sets));
  return isOurs && (await file.stat()).size === sizeOf(sets) ? sets : undefined;
}

/** Nobody else can miss what is in it. What a crash has left of a division is the page, whole or not, and no more. */
async function isEmptyOrOurs(file: FileHandle): Promise<boolean> {
  const page = Buffer.alloc(PAGE);
  await file.read(page, 0, PAGE, 0);
  if (page.subarray(0, MAGIC.length).equals(MAGIC)) return true;
  return (await file.stat()).size <= PAGE && page.equals(Buffer.alloc(PAGE));
}

const noCache = (path: string): Error =>
  new Error(`${path} is not the file of a cache; delete it if nobody needs it, or name another folder`);

/** The file is sparse: what it has not got yet takes no room. */
async function divide(file: FileHandle, sets: number): Promise<void> {
  await file.truncate(0);
  await file.write(encodePage(sets), 0, PAGE, 0);
  // A power failure must not leave a large file without the page, which would be taken for somebody else's.
  await file.datasync();
  await file.truncate(sizeOf(sets));
}
