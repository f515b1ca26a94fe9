import type { LogSource } from '../log-source.ts';
import { LogNames } from '../names.ts';
import { type LogRecord, readRecord } from '../volume/volume-record.ts';
import { decodeProfile, encodeProfile, MAX_PROFILE } from './profile.ts';

/** Clones of clones are looked through so far. */
const MAX_ANCESTORS = 16;

type Of = Pick<LogRecord, 'uuid' | 'parent'>;

/**
 * Units that the guest of this volume read first; until that was recorded, those of the volume that it was cloned from.
 * Undefined when there are none; a text says why they cannot be used. Rejects as the store does.
 */
export async function readProfile(
  { store, names, key }: LogSource,
  volume: Of,
): Promise<readonly number[] | string | undefined> {
  let [place, of] = [names, volume];
  for (let ancestors = 0; ; ancestors++) {
    const name = place.bootProfile;
    const object = await store.get(name, MAX_PROFILE);
    // A clone has the key of its parent. That of a volume which was here before is none.
    const units = object && decodeProfile(object.body, of.uuid, { name, key });
    if (units !== undefined) return typeof units === 'string' ? `${name}: ${units}` : units;
    if (of.parent === undefined || ancestors === MAX_ANCESTORS) return undefined;
    const { prefix, uuid } = of.parent;
    place = new LogNames(prefix);
    const record = await readRecord(store, place);
    if (record?.uuid !== uuid) return undefined;
    of = record;
  }
}

export async function writeProfile(
  { store, names, key }: LogSource,
  { uuid }: Of,
  units: Iterable<number>,
): Promise<void> {
  const name = names.bootProfile;
  await store.put(name, encodeProfile(units, uuid, { name, key }));
}
