import type { PluginContext } from '../../../core/plugin.ts';
import { GatewayError } from '../../../core/plugin.ts';
import type { S3Config } from '../config.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { VolumeKey } from './encryption/volume-key.ts';
import { unlockVolume } from './encryption/volume-keys.ts';
import type { StoredHead } from './head.ts';
import { mapPages } from './map/block-map.ts';
import type { LogNames } from './names.ts';
import { uuidBytes } from './object-header.ts';
import { type Recovered, recover } from './recovery.ts';
import { type LogRecord, readLogVolume } from './volume/volume-record.ts';

/** How often the volume may change while it is looked at. */
const MAX_CHANGES = 5;

export interface Observed {
  readonly record: LogRecord;
  readonly head: StoredHead;
  readonly recovered: Recovered;
  readonly key: VolumeKey | undefined;
}

/**
 * The log as it is, without taking it from whoever writes it. That one may delete meanwhile what the head named a moment
 * ago: what is missing then is no damage, and looked for again.
 */
export async function observe(
  store: ObjectStore,
  names: LogNames,
  config: Pick<S3Config, 'bucket' | 'prefix' | 'size' | 'encryption' | 'mapCache'>,
  where: Pick<PluginContext, 'baseDir' | 'signal'>,
): Promise<Observed> {
  const first = await readLogVolume(store, names, config);
  const key = await unlockVolume(store, names, first.record, config, where);
  for (let changes = 0; ; changes++) {
    const { record, head } = changes === 0 ? first : await readLogVolume(store, names, config);
    try {
      const source = { store, names, key };
      const uuid = uuidBytes(record.uuid);
      const recovered = await recover(source, head.head, uuid, undefined, mapPages(config));
      return { record, head, recovered, key };
    } catch (error) {
      if (!GatewayError.is(error) || error.code !== 'volume.corrupt' || changes === MAX_CHANGES) throw error;
      const now = await readLogVolume(store, names, config);
      if (now.head.etag === head.etag) throw error;
    }
  }
}
