import type { Head } from '../head.ts';
import type { LogNames } from '../names.ts';
import { BLOCK } from '../object-header.ts';
import type { LogRecord } from '../volume/volume-record.ts';
import type { Report } from './report.ts';

const HASH = /^[0-9a-f]{64}$/;

/** Whether what the head says fits together. */
export function checkHead(
  names: LogNames,
  record: Pick<LogRecord, 'size'>,
  head: Head,
  report: Report,
): void {
  const wrong = (what: string): void => report.error(names.head, what);
  if (head.size <= 0 || head.size % BLOCK !== 0)
    wrong(`it says a size of ${head.size} bytes, which is no size of a disk`);
  if (head.size < record.size)
    wrong(`it says ${head.size} bytes, and the volume was created with ${record.size}`);
  if (head.state === 'owned') {
    if (head.writer === null) wrong('the volume is owned, and by nobody');
    if (!head.epochs.some(({ epoch }) => epoch === head.epoch))
      wrong('the volume is owned, and the epoch of its writer is not listed');
  }
  for (const [i, { epoch }] of head.epochs.entries()) {
    if (epoch > head.epoch) wrong(`epoch ${epoch} is listed, and ${head.epoch} is the latest`);
    if (i > 0 && epoch <= head.epochs[i - 1]!.epoch) wrong('epochs are not in their order');
  }
  const kept = [...head.snapshots, ...(head.points ?? [])];
  const refs = [head.checkpoint, ...kept.map(({ checkpoint }) => checkpoint)];
  for (const ref of refs) {
    if (ref === null) continue;
    if (!HASH.test(ref.hash)) wrong(`the hash of the checkpoint ${ref.key} is none`);
    if (ref.at.epoch > head.epoch) wrong(`the checkpoint ${ref.key} is of an epoch to come`);
  }
  for (const { at, checkpoint } of head.points ?? [])
    if (Number.isNaN(Date.parse(at)) || names.checkpointOf(checkpoint.key) === undefined)
      wrong(`the point of ${at} is none`);
  const seen = new Set<string>();
  for (const { name } of head.snapshots) {
    if (seen.has(name)) wrong(`there are two snapshots "${name}"`);
    seen.add(name);
  }
}
