import { firstHead, type Head } from '../../backends/s3/log/head.ts';
import { LogNames } from '../../backends/s3/log/names.ts';
import { BLOCK } from '../../backends/s3/log/object-header.ts';
import { LOG_FORMAT, LOG_VERSION, type LogRecord } from '../../backends/s3/log/volume/volume-record.ts';
import { type Content, NAMES, SimGateway, type Tuning, VOLUME } from './gateway.ts';
import { CALM, type SimBucket } from './store.ts';
import type { World } from './world.ts';

/** The volume as a clone, and the parent that it has in some runs. */

const ORIGIN = { uuid: 'fedcba98-7654-4210-9edc-ba9876543210', names: new LogNames('parent') };
const SNAPSHOT = 'origin';
export const PARENT = { prefix: ORIGIN.names.prefix, uuid: ORIGIN.uuid, snapshot: SNAPSHOT };
const CLAIM = ORIGIN.names.refs + VOLUME;

export const encodedHead = (head: Head): Buffer => Buffer.from(JSON.stringify({ ...head, nonce: '' }));

/** The volume begins as a snapshot of another one: returns what that holds. */
export async function makeClone(
  world: World,
  bucket: SimBucket,
  tuning: Tuning,
  random: () => number,
  report: (problem: string) => void,
): Promise<Content> {
  const { blocks } = tuning;
  const size = (tuning.first + blocks) * BLOCK;
  const record: LogRecord = {
    ...{ format: LOG_FORMAT, version: LOG_VERSION, uuid: ORIGIN.uuid, blockSize: BLOCK, size },
    ...{ createdAt: '', compression: tuning.compression, requiredFeatures: [] },
  };
  bucket.put(ORIGIN.names.volume, Buffer.from(JSON.stringify(record)), {});
  bucket.put(ORIGIN.names.head, encodedHead(firstHead(ORIGIN.uuid, size)), {});
  const parent = new SimGateway(world, bucket, CALM, tuning, 'parent', report, ORIGIN);
  await world.as(parent.actor, () => void parent.open());
  await world.run(10_000);
  for (let version = 1; version <= 12; version++) {
    const lba = Math.floor(random() * blocks);
    const count = 1 + Math.floor(random() * Math.min(16, blocks - lba));
    await world.as(parent.actor, () => parent.write(lba, count, version));
    await world.as(parent.actor, () => parent.flush());
    await world.run(1000);
  }
  await world.as(parent.actor, () => void parent.snapshot(SNAPSHOT));
  await world.run(10_000);
  parent.kill();
  const { head } = parent.writer!;
  const { checkpoint } = head.snapshots[0]!;
  bucket.put(CLAIM, Buffer.from(JSON.stringify({ prefix: NAMES.prefix, snapshot: SNAPSHOT })), {});
  bucket.put(NAMES.head, encodedHead({ ...firstHead(VOLUME, size), epoch: head.epoch + 1, checkpoint }), {});
  return parent.model;
}

/** Nobody needs the parent of the clone that `gateway` has flattened, unless a snapshot does. Returns what is wrong. */
export function removeParent({ flatten, writer }: SimGateway, bucket: SimBucket): string | undefined {
  const { flatten: state } = flatten!.status();
  const { isFlat, snapshots } = writer!.head;
  if (!isFlat)
    return snapshots.length > 0 && state!.startsWith('waiting')
      ? undefined
      : `the clone needs its parent still: ${state}`;
  if (state !== 'done') return `the clone is flat, and does not say so: ${state}`;
  if (bucket.objects.has(CLAIM)) return 'the clone goes on claiming its parent';
  for (const key of [...bucket.objects.keys()])
    if (key.startsWith(ORIGIN.names.root)) bucket.objects.delete(key);
  return undefined;
}
