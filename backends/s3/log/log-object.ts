import type { FrameTable } from './frames/frame-table.ts';
import type { LogNames, LogPosition } from './names.ts';

/** An object of the log, as long as any block of the disk may come from it. */
export interface LogObject {
  /** By which the maps know it; above 0. */
  readonly id: number;
  /** Where it lies: a clone has objects of its parent. */
  readonly names: LogNames;
  /** Nothing before it is sealed. */
  place: LogPosition | undefined;
  /** Blocks of data. */
  blocks: number;
  /** Bytes of its data as it is stored. */
  stored: number;
  /**
   * Blocks of the disk that come from it, as far as it is durable: at most so many, while pages of the map are not in memory;
   * and while the table is not complete, so many more than the checkpoint before says.
   */
  live: number;
  /** What of `live` is in a checkpoint. */
  saved: number;
  /** A checkpoint has it in its table. */
  isStored: boolean;
  /** Its blocks, while it is not in the store. */
  data: Buffer | undefined;
  /** Bytes of its header, and its frames: while they are known. */
  headerBytes: number;
  frames: FrameTable | undefined;
  /** Reads under way: it must not be deleted. */
  readers: number;
}

/** Every object that the maps refer to. */
export class ObjectTable {
  /** False: a checkpoint knows more objects. */
  isComplete = true;
  readonly #byId = new Map<number, LogObject>();
  readonly #byKey = new Map<string, LogObject>();
  #nextId = 1;

  get(id: number): LogObject {
    return this.#byId.get(id)!;
  }

  peek(id: number): LogObject | undefined {
    return this.#byId.get(id);
  }

  find(names: LogNames, place: LogPosition): LogObject | undefined {
    return this.#byKey.get(names.object(place));
  }

  add(names: LogNames): LogObject {
    const object: LogObject = {
      id: this.#nextId++,
      names,
      place: undefined,
      blocks: 0,
      stored: 0,
      live: 0,
      saved: 0,
      isStored: false,
      data: undefined,
      headerBytes: 0,
      frames: undefined,
      readers: 0,
    };
    this.#byId.set(object.id, object);
    return object;
  }

  /** From now on `find` finds it. */
  place(object: LogObject, place: LogPosition): void {
    object.place = place;
    this.#byKey.set(object.names.object(place), object);
  }

  /** `stored`: bytes. */
  addStored(names: LogNames, place: LogPosition, blocks: number, stored: number): LogObject {
    const object = this.add(names);
    object.blocks = blocks;
    object.stored = stored;
    this.place(object, place);
    return object;
  }

  /** An object that a checkpoint refers to. 0: how large it is, is not known yet. */
  learn(names: LogNames, place: LogPosition, blocks: number, stored: number): LogObject {
    let object = this.find(names, place);
    if (object === undefined) {
      object = this.addStored(names, place, blocks, stored);
      object.isStored = true;
    } else if (object.blocks === 0) {
      object.blocks = blocks;
      object.stored = stored;
    }
    return object;
  }

  remove(object: LogObject): void {
    this.#byId.delete(object.id);
    if (object.place !== undefined) this.#byKey.delete(object.names.object(object.place));
  }

  values(): IterableIterator<LogObject> {
    return this.#byId.values();
  }
}

/** What its header says of where its data is. */
export function learnFrames(object: LogObject, frames: FrameTable, headerBytes: number): void {
  object.frames = frames;
  object.headerBytes = headerBytes;
  object.stored = frames.stored;
}
