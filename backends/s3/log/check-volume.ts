import {
  BlockError,
  type CheckOptions,
  type Finding,
  formatSize,
  GatewayError,
  Semaphore,
} from '../../../core/plugin.ts';
import { describeHolder } from '../holder.ts';
import { deleteAll, type Operation } from '../operation.ts';
import { BlockMap } from './block-map.ts';
import { cloneRefs } from './clones.ts';
import { FrameCache, readHeader } from './frame-cache.ts';
import { type Head, holderOf, readHead, type Snapshot } from './head.ts';
import { type LogObject, ObjectTable } from './log-object.ts';
import type { LogSource } from './log-source.ts';
import { LogNames } from './names.ts';
import { BLOCK } from './object-header.ts';
import { type Observed, observe } from './observe.ts';
import { loadCheckpoint } from './recovery.ts';
import { withWriter } from './snapshot-operations.ts';
import { codecOf, readRecord } from './volume-record.ts';

/** Objects that are looked at together. */
const AT_ONCE = 16;
/** Frames of one object that are in memory at a time. */
const FRAMES_AT_ONCE = 128;
/** What is told one by one. */
const MAX_TOLD = 20;
const MAX_RANGES = 4;
/** A fence has a header and nothing else; it belongs to the log for ever. Bytes. */
const MAX_FENCE = 1024;
/** A volume that somebody changes meanwhile is looked at again so often. */
const MAX_LOOKS = 3;

/** A map, and what it is the map of. */
interface View {
  readonly label: string;
  readonly table: ObjectTable;
  readonly map: BlockMap;
}

/** Looks whether everything that the volume needs is there and as it should be. Changes nothing, except to `repair`. */
export async function checkLog(operation: Operation, options: CheckOptions): Promise<readonly Finding[]> {
  const { store, config, ctx } = operation;
  const names = new LogNames(config.prefix);
  for (let looks = 1; ; looks++) {
    let seen: Observed;
    try {
      seen = await observe(store, names, { ...config, size: undefined }, ctx);
    } catch (error) {
      if (!GatewayError.is(error) || error.code !== 'volume.corrupt') throw error;
      return [
        {
          severity: 'error',
          summary: `${error.message} ${error.why}.`,
          ...(error.fix && { fix: error.fix }),
        },
      ];
    }
    const check = new Check(operation, names, seen, options);
    const findings = await check.run();
    const now = await readHead(store, names);
    // Whoever has it open deletes what it needs no more: what is missing now may just have gone.
    const isStale = now?.etag !== seen.head.etag && findings.some(({ severity }) => severity === 'error');
    if (isStale && looks < MAX_LOOKS) continue;
    if (!options.repair || check.orphans.length === 0) return findings;
    return [...findings, await repair(operation, names)];
  }
}

/** Deletes what nothing needs, with the volume taken: nobody can begin to need it. */
async function repair(operation: Operation, names: LogNames): Promise<Finding> {
  return await withWriter(operation, async (writer) => {
    const { store, config, ctx } = operation;
    const seen = await observe(store, names, { ...config, size: undefined }, ctx);
    const check = new Check(operation, names, seen, {
      data: false,
      repair: false,
      progress: () => undefined,
    });
    await check.run();
    await writer.change(() => ({}));
    await deleteAll(store, check.orphans);
    return { severity: 'ok', summary: `${check.orphans.length} objects that nothing needs were deleted` };
  });
}

class Check {
  readonly #operation: Operation;
  readonly #names: LogNames;
  readonly #seen: Observed;
  readonly #options: CheckOptions;
  readonly #findings: Finding[] = [];
  #errors = 0;
  /** By key: bytes. Everything under the prefix. */
  readonly #listed = new Map<string, number>();
  /** Keys that were looked at. */
  readonly #known = new Set<string>();
  #checkedBytes = 0;
  /** Keys that nothing needs. */
  orphans: string[] = [];

  constructor(operation: Operation, names: LogNames, seen: Observed, options: CheckOptions) {
    this.#operation = operation;
    this.#names = names;
    this.#seen = seen;
    this.#options = options;
  }

  async run(): Promise<readonly Finding[]> {
    const { head } = this.#seen.head;
    await this.#list();
    const views: View[] = [{ label: 'the disk', ...this.#seen.recovered }];
    for (const snapshot of head.snapshots) {
      const view = await this.#snapshot(snapshot);
      if (view !== undefined) views.push(view);
    }
    for (const view of views) this.#bounds(view);
    await this.#objects(views);
    this.#condemned(head, views);
    await this.#clones();
    this.#findOrphans(head, views);
    this.#tell(head, views);
    return this.#findings;
  }

  async #list(): Promise<void> {
    let continuation: string | undefined;
    do {
      const page = await this.#operation.store.list(this.#names.root, continuation ? { continuation } : {});
      for (const { key, size } of page.objects) this.#listed.set(key, size);
      continuation = page.next;
    } while (continuation !== undefined);
  }

  async #snapshot({ name, checkpoint }: Snapshot): Promise<View | undefined> {
    const table = new ObjectTable();
    const map = new BlockMap(table);
    try {
      await loadCheckpoint({ store: this.#operation.store, key: this.#seen.key }, checkpoint, table, map);
      return { label: `snapshot "${name}"`, table, map };
    } catch (error) {
      if (!GatewayError.is(error)) throw error;
      this.#error(`snapshot "${name}" is lost: ${error.message} ${error.why}`);
      return undefined;
    }
  }

  /** What a map says of an object has to be within it, and within the disk. */
  #bounds({ label, table, map }: View): void {
    for (const { id, lba, block, count } of map.runs()) {
      const object = table.get(id);
      if (block + count > object.blocks)
        this.#error(
          `${label}: blocks ${lba} … ${lba + count - 1} are said to be behind the end of ${keyOf(object)}`,
        );
    }
  }

  async #objects(views: readonly View[]): Promise<void> {
    const all = new Map<string, { readonly object: LogObject; readonly needing: View[] }>();
    for (const view of views)
      for (const object of view.table.values()) {
        if (object.live === 0 || object.place === undefined) continue;
        const found = all.get(keyOf(object));
        if (found === undefined) all.set(keyOf(object), { object, needing: [view] });
        else found.needing.push(view);
      }
    const { store, config } = this.#operation;
    const { record, key } = this.#seen;
    const frames = new FrameCache(store, codecOf(record, config, key), 0);
    const slots = new Semaphore(AT_ONCE);
    let done = 0;
    await Promise.all(
      [...all].map(async ([name, { object, needing }]) => {
        using _slot = await slots.acquire();
        this.#known.add(name);
        const problem = await this.#problemOf({ store, key, names: object.names }, name, object, frames);
        if (problem !== undefined) this.#error(`${name} ${problem}; needed for ${rangesOf(name, needing)}`);
        this.#options.progress(++done, all.size);
      }),
    );
  }

  async #problemOf(
    source: LogSource,
    name: string,
    object: LogObject,
    frames: FrameCache,
  ): Promise<string | undefined> {
    const found = await readHeader(source.store, { name, key: source.key });
    if (found === undefined) return 'is missing';
    if (typeof found === 'string') return `is damaged: ${found}`;
    const { header, bytes, size } = found;
    const { epoch, seq } = object.place!;
    if (header.place.epoch !== epoch || header.place.seq !== seq || header.blocks !== object.blocks)
      return 'is another object, under this name';
    const stored = header.frames.reduce((sum, frame) => sum + frame.stored, 0);
    if (size !== bytes.length + stored) return `has ${size} bytes and should have ${bytes.length + stored}`;
    this.#checkedBytes += size;
    if (!this.#options.data) return undefined;
    for (let first = 0; first < header.frames.length; first += FRAMES_AT_ONCE) {
      try {
        await frames.fetch(object, first, Math.min(FRAMES_AT_ONCE, header.frames.length - first));
      } catch (error) {
        if (!BlockError.is(error)) throw error;
        return `cannot be read: ${error.message}`;
      }
    }
    return undefined;
  }

  #condemned({ condemned }: Head, views: readonly View[]): void {
    const needed = new Set(
      views.flatMap(({ table }) => [...table.values()].filter(({ live }) => live > 0).map(keyOf)),
    );
    for (const key of condemned)
      if (needed.has(key)) this.#error(`${key} is condemned to be deleted, and needed`);
  }

  async #clones(): Promise<void> {
    const { store } = this.#operation;
    const { snapshots } = this.#seen.head.head;
    for (const { prefix, snapshot, uuid } of await cloneRefs(store, this.#names)) {
      const clone = await readRecord(store, new LogNames(prefix)).catch(() => undefined);
      if (clone?.uuid !== uuid)
        this.#warn(
          `${this.#names.refs}${uuid} keeps snapshot "${snapshot}" for a clone at "${prefix}" that is not there`,
        );
      else if (!snapshots.some(({ name }) => name === snapshot))
        this.#error(`snapshot "${snapshot}", which the clone at "${prefix}" needs, is not there`);
    }
  }

  /** What the checkpoint does not need any more, no snapshot does, and nobody has condemned. */
  #findOrphans({ checkpoint, snapshots, condemned }: Head, views: readonly View[]): void {
    const needed = new Set([
      ...condemned,
      ...(checkpoint === null ? [] : [checkpoint.key]),
      ...snapshots.map((snapshot) => snapshot.checkpoint.key),
      ...views.flatMap(({ table }) =>
        [...table.values()].filter(({ place }) => place !== undefined).map(keyOf),
      ),
    ]);
    for (const [key, size] of this.#listed) {
      if (needed.has(key)) continue;
      if (key.startsWith(this.#names.checkpoints)) this.orphans.push(key);
      const place = this.#names.positionOf(key);
      if (place === undefined || checkpoint === null || size <= MAX_FENCE) continue;
      const { epoch, seq } = checkpoint.at;
      if (place.epoch < epoch || (place.epoch === epoch && place.seq <= seq)) this.orphans.push(key);
    }
    if (this.orphans.length === 0) return;
    const bytes = this.orphans.reduce((sum, key) => sum + this.#listed.get(key)!, 0);
    this.#warn(
      `${this.orphans.length} objects with ${formatSize(bytes)} that nothing needs, such as ${this.orphans[0]}`,
      this.#options.repair ? undefined : 'Run the command with --repair while nobody has the volume open.',
    );
  }

  #tell(head: Head, views: readonly View[]): void {
    if (this.#errors > MAX_TOLD)
      this.#findings.push({ severity: 'error', summary: `${this.#errors - MAX_TOLD} more problems` });
    const holder = holderOf(head);
    if (holder !== undefined)
      this.#warn(`it is in use by ${describeHolder(holder)}: this is what its store has at this moment`);
    if (head.journal != null)
      this.#warn(`what was written last may be in the journal ${head.journal.path} on ${head.journal.host}`);
    const { recovered } = this.#seen;
    if (this.#errors === 0)
      this.#findings.push({
        severity: 'ok',
        summary: [
          `${formatSize(recovered.map.used * BLOCK)} in ${this.#known.size} objects`,
          `${views.length - 1} snapshots`,
          `${recovered.replayed} objects after the checkpoint`,
          this.#options.data
            ? `every byte of ${formatSize(this.#checkedBytes)} was read`
            : 'headers and sizes are right; the data was not read',
        ].join(', '),
      });
  }

  #error(summary: string): void {
    if (++this.#errors <= MAX_TOLD) this.#findings.push({ severity: 'error', summary });
  }

  #warn(summary: string, fix?: string): void {
    this.#findings.push({ severity: 'warning', summary, ...(fix !== undefined && { fix }) });
  }
}

const keyOf = ({ names, place }: LogObject): string => names.object(place!);

/** Where the data of the object is, in bytes of the disk. */
function rangesOf(name: string, views: readonly View[]): string {
  return views
    .map(({ label, table, map }) => {
      const ranges: string[] = [];
      let bytes = 0;
      for (const { id, lba, count } of map.runs()) {
        const object = table.get(id);
        if (object.place === undefined || keyOf(object) !== name) continue;
        bytes += count * BLOCK;
        if (ranges.length < MAX_RANGES) ranges.push(`${lba * BLOCK}+${count * BLOCK}`);
        else if (ranges.length === MAX_RANGES) ranges.push('…');
      }
      return `${formatSize(bytes)} of ${label} (bytes ${ranges.join(', ')})`;
    })
    .join(' and ');
}
