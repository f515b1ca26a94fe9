import type { ObjectStore } from '../../store/object-store.ts';
import { corrupt } from '../corrupt.ts';
import type { VolumeKey } from '../encryption/volume-key.ts';
import type { CheckpointRef } from '../head.ts';
import type { SliceRef } from './part.ts';
import { CHECKPOINT_START, decodeRoot, type Root } from './root.ts';

/** Reads checkpoints. Everything throws `volume.corrupt` for what is missing or damaged. */
export class SliceReader {
  /** A disk that is open has another one than while it was being opened. */
  store: ObjectStore;
  readonly #key: VolumeKey | undefined;

  /** @param key of a volume that is encrypted. */
  constructor(store: ObjectStore, key: VolumeKey | undefined) {
    this.store = store;
    this.#key = key;
  }

  async root({ key: name, at, root: length = CHECKPOINT_START }: CheckpointRef): Promise<Root> {
    const root = decodeRoot(await this.#read(name, 0, length), { name, key: this.#key });
    if (typeof root === 'string') throw corrupt(name, root);
    if (root.at.epoch !== at.epoch || root.at.seq !== at.seq)
      throw corrupt(name, 'it is the checkpoint of another moment');
    return root;
  }

  async slice({ part, offset, length }: SliceRef): Promise<Buffer> {
    const bytes = await this.#read(part.key, part.dataAt + offset, length);
    if (this.#key === undefined) return bytes;
    try {
      return part.cipher(this.#key).open(offset, bytes);
    } catch (error) {
      throw corrupt(part.key, `it cannot be opened: ${(error as Error).message}`);
    }
  }

  async #read(name: string, offset: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafeSlow(length);
    const info = await this.store.read(name, offset, [bytes]);
    if (info === undefined) throw corrupt(name, 'it is missing');
    if (info.size < offset + length) throw corrupt(name, `it ends after ${info.size} bytes`);
    return bytes;
  }
}
