import type { ObjectCipher, VolumeKey } from '../encryption/volume-key.ts';
import { LogNames } from '../names.ts';

/** A checkpoint as an object of which parts are still needed: of later checkpoints as well. */
export class Part {
  /** Where it lies: a clone has parts of its parent. */
  readonly names: LogNames;
  readonly epoch: number;
  readonly number: number;
  /** Where its slices begin. Bytes. Not known before it is complete. */
  dataAt: number;
  /** Of all its slices. */
  bytes: number;
  /** Of a volume that is encrypted: random bytes. */
  readonly salt: Buffer;
  #cipher: ObjectCipher | undefined;

  constructor(names: LogNames, epoch: number, number: number, dataAt: number, bytes: number, salt: Buffer) {
    this.names = names;
    this.epoch = epoch;
    this.number = number;
    this.dataAt = dataAt;
    this.bytes = bytes;
    this.salt = salt;
  }

  get key(): string {
    return this.names.checkpoint(this.epoch, this.number);
  }

  cipher(key: VolumeKey): ObjectCipher {
    this.#cipher ??= key.cipher(this.key, this.salt);
    return this.#cipher;
  }
}

/** Bytes of a part that belong together. Each is sealed by itself. */
export interface SliceRef {
  readonly part: Part;
  /** Counted from the first slice. Bytes. */
  readonly offset: number;
  readonly length: number;
}

/** Names of places where objects lie, each once. Those of a slice are in front of it. */
export class Places {
  readonly #roots = new Map<string, number>();

  numberOf({ root }: LogNames): number {
    let number = this.#roots.get(root);
    if (number === undefined) {
      number = this.#roots.size;
      this.#roots.set(root, number);
    }
    return number;
  }

  encode(): Buffer {
    return Buffer.from([...this.#roots.keys()].map((root) => `${root}\n`).join(''));
  }

  static decode(bytes: Buffer): LogNames[] {
    const roots = bytes.toString('utf8').split('\n').slice(0, -1);
    return roots.map((root) => new LogNames(root.slice(0, -1)));
  }
}
