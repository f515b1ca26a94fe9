import type { ObjectStore } from '../store/object-store.ts';
import type { VolumeKey } from './encryption/volume-key.ts';
import type { LogNames } from './names.ts';

/** From where the objects of a volume are read. */
export interface LogSource {
  readonly store: ObjectStore;
  readonly names: LogNames;
  /** Of a volume that is encrypted. */
  readonly key: VolumeKey | undefined;
}
