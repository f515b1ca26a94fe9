import { GatewayError } from '../../../../core/plugin.ts';
import { deleteAll } from '../../operation.ts';
import { listPages } from '../../store/list-pages.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { LogNames } from '../names.ts';
import type { LogRecord } from './volume-record.ts';

export const MAX_REF_BYTES = 64 * 1024;

/** A clone's claim on a snapshot of its parent: the content of `refs/<uuid of the clone>`. */
interface CloneRef {
  /** Of the clone. */
  readonly prefix: string;
  readonly snapshot: string;
}

async function cloneRefs(store: ObjectStore, names: LogNames): Promise<CloneRef[]> {
  const keys: string[] = [];
  for await (const page of listPages(store, names.refs)) {
    keys.push(...page.objects.map(({ key }) => key));
  }
  const bodies = await Promise.all(keys.map((key) => store.get(key, MAX_REF_BYTES)));
  return bodies.flatMap((object) =>
    object === undefined ? [] : [JSON.parse(Buffer.from(object.body).toString('utf8')) as CloneRef],
  );
}

/** Throws `volume.has-clones` when one needs the snapshot; of all snapshots without one. */
export async function refuseWithClones(
  store: ObjectStore,
  names: LogNames,
  snapshot: string | undefined,
): Promise<void> {
  const refs = await cloneRefs(store, names);
  const needing = refs.find((ref) => snapshot === undefined || ref.snapshot === snapshot);
  if (needing === undefined) return;
  throw new GatewayError('volume.has-clones', `The volume at "${needing.prefix}" is a clone of this one.`, {
    why: `It needs the snapshot "${needing.snapshot}".`,
    fix: 'Delete that volume first, or flatten it: blockgate volume flatten <target>.',
  });
}

/** A clone needs nothing of its parent any more: its claim goes. */
export async function letParentGo(
  store: ObjectStore,
  { uuid, parent }: Pick<LogRecord, 'uuid' | 'parent'>,
): Promise<void> {
  if (parent !== undefined) await deleteAll(store, [new LogNames(parent.prefix).refs + uuid]);
}
