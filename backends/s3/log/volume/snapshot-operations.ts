import { randomUUID } from 'node:crypto';
import { GatewayError, type SnapshotInfo, type VolumeInfo } from '../../../../core/plugin.ts';
import type { S3Config } from '../../config.ts';
import type { Operation } from '../../operation.ts';
import { isStoreError } from '../../store/store-error.ts';
import { volumeExists } from '../../volume-errors.ts';
import { copyKeys, unlockVolume } from '../encryption/volume-keys.ts';
import { firstHead, type Head, type Snapshot, writeHead } from '../head.ts';
import { imageOf } from '../image/base-image.ts';
import type { LogSource } from '../log-source.ts';
import { needsOf, needsOfAll } from '../map/needs.ts';
import { LogNames } from '../names.ts';
import type { LogWriter } from '../writer.ts';
import { refuseWithClones } from './clones.ts';
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

/** Keeps what the volume holds now under a name. */
export async function createSnapshot(operation: Operation, name: string): Promise<SnapshotInfo> {
  return await withWriter(operation, async (writer) =>
    info(await writer.snapshot(name, new Date().toISOString())),
  );
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
    await writer.change((current) => ({
      snapshots: without(current),
      condemned: [...current.condemned, ...freed],
    }));
  });
  // Opened anew, it deletes what is condemned, and knows what of the rest nobody needs any more.
  await withWriter(operation, (writer) => writer.checkpoint());
}

/** Keys of what nothing needs any more without the snapshot. */
async function neededOnlyBy(
  { checkpoint }: Snapshot,
  others: readonly Snapshot[],
  writer: LogWriter,
  source: LogSource,
): Promise<string[]> {
  const needed = await needsOfAll(
    source,
    others.map((other) => other.checkpoint),
  );
  const now = writer.head.checkpoint === null ? undefined : await needsOf(source, writer.head.checkpoint);
  for (const key of [...(now?.objects ?? []), ...(now?.checkpoints ?? [])]) needed.add(key);
  for (const { place, names } of writer.recovered.stored.table.values())
    if (place !== undefined) needed.add(names.object(place));
  const { known } = await needsOf(source, checkpoint);
  return [...known].filter((key) => key.startsWith(source.names.root) && !needed.has(key));
}

/** The volume becomes what the snapshot is. */
export async function rollbackVolume(operation: Operation, name: string): Promise<SnapshotInfo> {
  const { store, config, ctx } = operation;
  findSnapshot((await readVolume(operation)).head.head, name, config);
  const kept = await createSnapshot(operation, `before-rollback-${new Date().toISOString()}`);
  const { head } = await readVolume(operation);
  refuseIfOwned(head.head, ctx, false);
  const { checkpoint, size } = findSnapshot(head.head, name, config);
  await changeHead(store, new LogNames(config.prefix), head, { checkpoint, size, epochs: [] });
  return kept;
}

/** A new volume at the prefix of `target`, which begins as the snapshot is. */
export async function cloneVolume(operation: Operation, name: string, target: S3Config): Promise<VolumeInfo> {
  const { store, config } = operation;
  const [from, to] = [new LogNames(config.prefix), new LogNames(target.prefix)];
  if (target.bucket !== config.bucket || target.endpoint !== config.endpoint) {
    throw new GatewayError('volume.unsupported', 'A clone lies in the bucket of its parent.', {
      why: 'It shares objects with it.',
      fix: `Give the new volume the bucket "${config.bucket}".`,
    });
  }
  if ((await readRecord(store, to)) !== undefined) throw volumeExists(target);
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
