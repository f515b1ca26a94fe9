import { z } from 'zod';
import { inParallel } from '../../../../core/plugin.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { type Head, readHead } from '../head.ts';
import { imageOf, problemOf } from '../image/base-image.ts';
import { isPiece } from '../image/pieces.ts';
import { LogNames } from '../names.ts';
import { MAX_REF_BYTES } from '../volume/clones.ts';
import { type LogRecord, readRecord } from '../volume/volume-record.ts';
import { AT_ONCE } from './at-once.ts';
import type { NeededObjects } from './needed.ts';
import { readable } from './readable.ts';
import type { Report } from './report.ts';

const cloneRef = z.object({ prefix: z.string(), snapshot: z.string() });

/** The claims of clones on snapshots of this volume. `refs`: keys. */
export async function checkClones(
  store: ObjectStore,
  names: LogNames,
  head: Head,
  refs: readonly string[],
  report: Report,
): Promise<void> {
  const idle: string[] = [];
  await inParallel(refs, AT_ONCE, async (key) => {
    const object = await store.get(key, MAX_REF_BYTES);
    if (object === undefined) return;
    report.count('clones');
    let claim: z.output<typeof cloneRef>;
    try {
      claim = cloneRef.parse(JSON.parse(Buffer.from(object.body).toString('utf8')));
    } catch {
      report.error(key, 'the claim of a clone is damaged: it is not known which snapshot it needs');
      return;
    }
    const { prefix, snapshot } = claim;
    const clone = await readable(() => readRecord(store, new LogNames(prefix)));
    const isThere = clone !== undefined && clone.uuid === key.slice(names.refs.length);
    if (!isThere) idle.push(key);
    else if (!head.snapshots.some(({ name }) => name === snapshot))
      report.error(
        key,
        `the clone at "${prefix}" needs the snapshot "${snapshot}", which is not there any more`,
      );
  });
  report.warning(
    idle,
    'the claim of a clone that is not there: it keeps a snapshot from being deleted; if nobody is making that clone now, delete this object',
  );
}

/** Whether the image that the volume began as is there, unless it is needed no more. */
export async function checkBaseImage(
  store: ObjectStore,
  record: Pick<LogRecord, 'image'>,
  head: Head,
  needed: NeededObjects,
  report: Report,
): Promise<void> {
  const image = imageOf(record, head);
  const pieces = [...needed.values()].filter(isPiece);
  if (pieces.length === 0) return;
  const problem =
    image === undefined ? 'is needed, and volume.json names none' : await problemOf(store, image);
  if (problem === undefined) return;
  const affected = pieces.flatMap((piece) => [...needed.usesOf(piece)]);
  report.error(image?.key ?? pieces[0]!.key, `the image ${problem}`, affected);
}

/** What a clone needs of its parent, besides the objects. */
export async function checkParent(
  store: ObjectStore,
  names: LogNames,
  { uuid, parent }: Pick<LogRecord, 'uuid' | 'parent'>,
  { isFlat }: Head,
  report: Report,
): Promise<void> {
  if (parent === undefined || isFlat === true) return;
  const from = new LogNames(parent.prefix);
  const [record, head, ref] = await Promise.all([
    readable(() => readRecord(store, from)),
    readable(() => readHead(store, from)),
    store.head(from.refs + uuid),
  ]);
  if (record?.uuid !== parent.uuid)
    report.error(names.volume, `its parent, the volume at "${parent.prefix}", is not there any more`);
  else if (head === undefined) report.error(from.head, 'the head of its parent cannot be read');
  else if (!head.head.snapshots.some(({ name }) => name === parent.snapshot))
    report.error(from.head, `its parent has no snapshot "${parent.snapshot}" any more`);
  if (ref === undefined)
    report.error(
      from.refs + uuid,
      'its claim on the snapshot of its parent is missing: nothing keeps that from being deleted',
    );
}
