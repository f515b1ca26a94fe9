import { randomUUID } from 'node:crypto';
import { GatewayError, type Moment, type SnapshotInfo, type VolumeInfo } from '../../../../core/plugin.ts';
import type { S3Config } from '../../config.ts';
import type { Operation } from '../../operation.ts';
import { isStoreError } from '../../store/store-error.ts';
import { volumeExists } from '../../volume-errors.ts';
import { copyKeys, unlockVolume } from '../encryption/volume-keys.ts';
import { firstHead, type Head, refuseTaken, type Snapshot, writeHead } from '../head.ts';
import { imageOf } from '../image/base-image.ts';
import type { LogSource } from '../log-source.ts';
import { needsOf, needsOfAll } from '../map/needs.ts';
import { LogNames } from '../names.ts';
import { hold } from '../points/held.ts';
import type { LogWriter } from '../writer.ts';
import { refuseWithClones } from './clones.ts';
import { fatesOf, findPoint } from './volume-points.ts';
import {
  featuresOf,
  LOG_FORMAT,
  LOG_VERSION,
  type LogRecord,
  readRecord,
  writeRecord,
} from './volume-record.ts';
import { changeHead, describe, refuseIfOwned } from './volumes.ts';
import { readVolume, withWriter } from './with-writer.ts';

/** Snapshots of volumes that nobody has open. */

/** Keeps what the volume holds now, or what it was at some moment, under a name. */
export async function createSnapshot(
  operation: Operation,
  name: string,
  moment?: Moment,
): Promise<SnapshotInfo> {
  if (moment !== undefined) return info(await keepPoint(operation, name, moment));
  return await withWriter(operation, async (writer) =>
    info(await writer.snapshot(name, new Date().toISOString())),
  );
}

/** A point is a checkpoint as a snapshot is: it only gets a name. */
async function keepPoint(operation: Operation, name: string, moment: Moment): Promise<Snapshot> {
  const { store, config, ctx } = operation;
  const { head } = await readVolume(operation);
  refuseIfOwned(head.head, ctx, false);
  refuseTaken(head.head, name);
  const { at, size, checkpoint } = findPoint(head.head, moment, config);
  const snapshot: Snapshot = { name, createdAt: at, size, checkpoint };
  const snapshots = [...head.head.snapshots, snapshot];
  await changeHead(store, new LogNames(config.prefix), head, { snapshots });
  return snapshot;
}

export async function listSnapshots(operation: Operation): Promise<readonly SnapshotInfo[]> {
  return (await readVolume(operation)).head.head.snapshots.map(info);
}

/**
 * Marks it first: whoever clones it from here on sees the mark; whoever has cloned it before has left a ref. What only it
 * needed is freed by the next checkpoint.
 */
export async function deleteSnapshot(operation: Operation, name: string): Promise<void> {
  const { store, config, ctx } = operation;
  const names = new LogNames(config.prefix);
  const { head } = await readVolume(operation);
  refuseIfOwned(head.head, ctx, false);
  findSnapshot(head.head, name, config);
  const without = ({ snapshots }: Head): Snapshot[] => snapshots.filter((other) => other.name !== name);
  const marked = (isGoing: boolean) => (current: Head) => ({
    snapshots: current.snapshots.map((other) => (other.name === name ? { ...other, isGoing } : other)),
  });
  const going = await changeHead(store, names, head, marked(true)(head.head));
  try {
    await refuseWithClones(store, names, name);
  } catch (error) {
    await changeHead(store, names, going, marked(false)(going.head));
    throw error;
  }
  await withWriter(operation, async (writer, source) => {
    const gone = findSnapshot(writer.head, name, config);
    const freed = await neededOnlyBy(gone, without(writer.head), writer, source);
    const fates = await fatesOf(source, writer.head.points ?? [], freed);
    const condemned = fates.filter(({ until }) => until === undefined).map(({ key }) => key);
    await writer.change((current) => {
      const held = [...hold(names, current.held ?? [], fates)];
      return {
        snapshots: without(current),
        condemned: [...current.condemned, ...condemned],
        ...((held.length > 0 || current.held !== undefined) && { held }),
      };
    });
  });
  // Opened anew, it deletes what is condemned, and knows what of the rest nobody needs any more.
  await withWriter(operation, (writer) => writer.checkpoint());
}

/** What nothing but points needs any more without the snapshot: keys, and bytes of data. */
async function neededOnlyBy(
  { checkpoint }: Snapshot,
  others: readonly Snapshot[],
  writer: LogWriter,
  source: LogSource,
): Promise<Map<string, number>> {
  const needed = await needsOfAll(
    source,
    others.map((other) => other.checkpoint),
  );
  const now = writer.head.checkpoint === null ? undefined : await needsOf(source, writer.head.checkpoint);
  for (const key of [...(now?.objects ?? []), ...(now?.checkpoints ?? [])]) needed.add(key);
  for (const { place, names } of writer.recovered.stored.table.values())
    if (place !== undefined) needed.add(names.object(place));
  const { known } = await needsOf(source, checkpoint);
  return new Map([...known].filter(([key]) => key.startsWith(source.names.root) && !needed.has(key)));
}

/** The volume becomes what the snapshot is, or what it was at some moment. */
export async function rollbackVolume(operation: Operation, to: string | Moment): Promise<SnapshotInfo> {
  const { store, config, ctx } = operation;
  const find = (head: Head): Pick<Snapshot, 'checkpoint' | 'size'> =>
    typeof to === 'string' ? findSnapshot(head, to, config) : findPoint(head, to, config);
  const chosen = find((await readVolume(operation)).head.head);
  const kept = await createSnapshot(operation, `before-rollback-${new Date().toISOString()}`);
  const { head } = await readVolume(operation);
  refuseIfOwned(head.head, ctx, false);
  const { checkpoint, size } = find(head.head);
  if (checkpoint.key !== chosen.checkpoint.key) throw pointGone(config);
  await changeHead(store, new LogNames(config.prefix), head, { checkpoint, size, epochs: [] });
  return kept;
}

/** A new volume at the prefix of `target`, which begins as the snapshot is, or as the volume was at some moment. */
export async function cloneVolume(
  operation: Operation,
  origin: string | Moment,
  target: S3Config,
): Promise<VolumeInfo> {
  const { store, config } = operation;
  const [from, to] = [new LogNames(config.prefix), new LogNames(target.prefix)];
  if (target.bucket !== config.bucket || target.endpoint !== config.endpoint) {
    throw new GatewayError('volume.unsupported', 'A clone lies in the bucket of its parent.', {
      why: 'It shares objects with it.',
      fix: `Give the new volume the bucket "${config.bucket}".`,
    });
  }
  if ((await readRecord(store, to)) !== undefined) throw volumeExists(target);
  // The claim of a clone is on a snapshot, so a point becomes one.
  const name = typeof origin === 'string' ? origin : await nameOfPoint(operation, origin);
  const parent = await readVolume(operation);
  const { size } = findSnapshot(parent.head.head, name, config);
  const compression = target.compression ?? parent.record.compression;
  // What opens the parent opens its clone.
  await unlockVolume(store, from, parent.record, target, operation.ctx);
  const encryption = parent.record.encryption && { encryption: parent.record.encryption };
  const image = imageOf(parent.record, parent.head.head);
  const record: LogRecord = {
    format: LOG_FORMAT,
    version: LOG_VERSION,
    uuid: randomUUID(),
    blockSize: parent.record.blockSize,
    size,
    createdAt: new Date().toISOString(),
    compression,
    ...encryption,
    ...(image && { image }),
    parent: { prefix: config.prefix, uuid: parent.record.uuid, snapshot: name },
    requiredFeatures: featuresOf({ compression, ...encryption, ...(image && { image }) }),
  };
  // Before anything of it is there: from here on the snapshot cannot go, unless it was going already.
  const ref = Buffer.from(JSON.stringify({ prefix: target.prefix, snapshot: name }));
  await store.put(from.refs + record.uuid, ref, { condition: 'absent' });
  let head: Head;
  try {
    head = (await readVolume(operation)).head.head;
    if (findSnapshot(head, name, config).isGoing) throw notFound(name, config);
    await writeRecord(store, to, record);
  } catch (error) {
    await store.deleteMany([from.refs + record.uuid]);
    throw isStoreError(error, 'precondition-failed') ? volumeExists(target) : error;
  }
  const epoch = Math.max(Date.now(), head.epoch + 1);
  const { checkpoint } = findSnapshot(head, name, config);
  if (record.encryption !== undefined) await copyKeys(store, from, to);
  const own: Head = { ...firstHead(record.uuid, size), epoch, checkpoint };
  if (typeof (await writeHead(store, to, own, undefined)) !== 'string') throw volumeExists(target);
  return describe(record, own, target, {});
}

/** Of the snapshot that the point is, which is made unless there is one already. */
async function nameOfPoint(operation: Operation, moment: Moment): Promise<string> {
  const { head } = (await readVolume(operation)).head;
  const { at, checkpoint } = findPoint(head, moment, operation.config);
  const there = head.snapshots.find(
    (snapshot) => snapshot.checkpoint.key === checkpoint.key && snapshot.isGoing !== true,
  );
  if (there !== undefined) return there.name;
  return (await keepPoint(operation, `point-${at}`, { at: new Date(at) })).name;
}

const pointGone = ({ prefix }: S3Config): GatewayError =>
  new GatewayError('volume.owner-contended', `The points of the volume at "${prefix}" have changed.`, {
    why: 'Somebody else has changed the volume at the same time, or the oldest point has expired.',
    fix: 'Run the command again.',
  });

/** Throws `volume.snapshot-not-found`. */
export function findSnapshot({ snapshots }: Head, name: string, config: S3Config): Snapshot {
  const found = snapshots.find((other) => other.name === name);
  if (found === undefined) throw notFound(name, config);
  return found;
}

function notFound(name: string, { prefix }: S3Config): GatewayError {
  return new GatewayError(
    'volume.snapshot-not-found',
    `The volume at "${prefix}" has no snapshot "${name}".`,
    { fix: 'List them: blockgate volume snapshots <target>' },
  );
}

const info = ({ name, size, createdAt }: Snapshot): SnapshotInfo => ({ name, size, createdAt });
