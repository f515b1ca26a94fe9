import {
  type CheckOptions,
  GatewayError,
  type VolumeCheck,
  type VolumeFinding,
} from '../../../../core/plugin.ts';
import { deleteAll, type Operation } from '../../operation.ts';
import { MAX_DELETE_KEYS } from '../../store/object-store.ts';
import { volumeNotFound } from '../../volume-errors.ts';
import { unlockVolume } from '../encryption/volume-keys.ts';
import { holderOf, readHead } from '../head.ts';
import { LogNames } from '../names.ts';
import { BLOCK } from '../object-header.ts';
import { type LogRecord, readRecord } from '../volume/volume-record.ts';
import { readVolume, withWriter } from '../volume/with-writer.ts';
import { type Inspection, inspect } from './inspect.ts';
import { takeInventory } from './inventory.ts';
import { Report } from './report.ts';

/** How often what is found is looked at again, because the volume has changed meanwhile. */
const MAX_LOOKS = 3;

/**
 * Verifies what is stored of a volume. With `repair`, deletes what nothing can ever need, unless there is damage: somebody
 * may still find in it what is missing. Throws `volume.owned` then while another has the volume open.
 */
export async function checkVolume(operation: Operation, options: CheckOptions): Promise<VolumeCheck> {
  const { report, leftovers, isOpen } = await look(operation, options);
  // Of a volume that a gateway had open until it died, what can be deleted is known only to whoever has taken it.
  if (!options.repair || (leftovers.length === 0 && !isOpen)) return report;
  const { head } = new LogNames(operation.config.prefix);
  if (report.hasErrors) {
    report.warning([head], 'nothing was repaired: of a damaged volume nothing is deleted');
    return report;
  }
  return await repair(operation, report);
}

interface Look extends Inspection {
  /** Somebody has it open, or had until it died. */
  readonly isOpen: boolean;
}

/** Again where it has changed and something seems to be wrong: its writer may have deleted what the head named before. */
async function look(operation: Operation, options: CheckOptions): Promise<Look> {
  const { store, config, ctx } = operation;
  const names = new LogNames(config.prefix);
  for (let looks = 1; ; looks++) {
    const damaged = new Report();
    const record = await readSound(() => readRecord(store, names), names.volume, damaged);
    const head = await readSound(() => readHead(store, names), names.head, damaged);
    if (damaged.hasErrors) return { report: damaged, leftovers: [], isOpen: false };
    if (record === undefined) throw volumeNotFound(config);
    if (head === undefined) return await withoutHead(operation, record);
    if (head.head.volume !== record.uuid) {
      damaged.error(names.head, 'it belongs to another volume', [whole(record)]);
      return { report: damaged, leftovers: [], isOpen: false };
    }
    // Refuses what is being deleted.
    await readVolume(operation);
    const key = await unlockVolume(store, names, record, config, ctx);
    const inspection = await inspect({ ...options, store, names, key, record, head: head.head });
    const { report } = inspection;
    const { journal } = head.head;
    if (journal != null)
      report.warning(
        [names.head],
        `what was written last may be in the journal ${journal.path} on ${journal.host}`,
      );
    const seen = { ...inspection, isOpen: holderOf(head.head) !== undefined };
    if ((await readHead(store, names))?.etag === head.etag) return seen;
    if (report.hasErrors && looks < MAX_LOOKS) continue;
    report.warning(
      [names.head],
      report.hasErrors
        ? 'the volume is in use, and changes: what seems to be wrong may be what its writer was changing; check it when it is not open'
        : 'the volume is in use, and has changed since: what is said here is of the volume as it was',
    );
    return seen;
  }
}

/** Where `create` was interrupted there is nothing else; otherwise all is there but what says what counts. */
async function withoutHead(operation: Operation, record: LogRecord): Promise<Look> {
  const names = new LogNames(operation.config.prefix);
  const { log, checkpoints } = await takeInventory(operation.store, names);
  // Says that it is not complete.
  if (log.size + checkpoints.size === 0) await readVolume(operation);
  const report = new Report();
  report.error(names.head, `it is missing, and ${log.size} objects of the log are there`, [whole(record)]);
  return { report, leftovers: [], isOpen: false };
}

const whole = ({ size }: LogRecord) => ({ view: undefined, lba: 0, count: size / BLOCK });

async function readSound<T>(
  read: () => Promise<T | undefined>,
  key: string,
  report: Report,
): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!GatewayError.is(error) || error.code !== 'volume.corrupt') throw error;
    report.error(key, `it is damaged: ${error.why}`);
    return undefined;
  }
}

/** What is deleted is condemned first, by a change of the head, as everywhere: whoever takes the volume meanwhile knows. */
async function repair(operation: Operation, before: Report): Promise<VolumeCheck> {
  const { store, config } = operation;
  const names = new LogNames(config.prefix);
  return await withWriter(operation, async (writer, { key }) => {
    const record = (await readVolume(operation)).record;
    // Anew: now nobody changes it, and we have written nothing.
    const { report, leftovers } = await inspect({
      store,
      names,
      key,
      record,
      head: { ...writer.head, state: 'released', writer: null },
      data: false,
      progress: () => undefined,
    });
    if (report.hasErrors) return report;
    const { condemned } = writer.head;
    for (let at = 0; at < leftovers.length; at += MAX_DELETE_KEYS) {
      const some = leftovers.slice(at, at + MAX_DELETE_KEYS);
      await writer.change(() => ({ condemned: [...new Set([...condemned, ...some])] }));
      await deleteAll(store, some);
    }
    await deleteAll(store, condemned);
    await writer.change(() => ({ condemned: [] }));
    return { findings: repaired(before.findings, report.findings), counts: before.counts };
  });
}

/** Some of it was gone when the volume was taken, and some could be judged only then. */
function repaired(before: readonly VolumeFinding[], taken: readonly VolumeFinding[]): VolumeFinding[] {
  const done = new Map<string, VolumeFinding>();
  for (const finding of [...before, ...taken]) {
    const there = done.get(finding.what);
    if (finding.repair === 'possible' && (there === undefined || there.count < finding.count))
      done.set(finding.what, { ...finding, repair: 'done' });
  }
  return [...done.values(), ...before.filter(({ repair }) => repair === 'none')];
}
