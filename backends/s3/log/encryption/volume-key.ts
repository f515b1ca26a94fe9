import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createSecretKey,
  hkdfSync,
  type KeyObject,
} from 'node:crypto';

export const CIPHER = 'aes-256-gcm';
/** Of a key. */
export const KEY_BYTES = 32;
/** What sealing adds. Bytes. */
export const TAG_BYTES = 16;
/** The parts of an object are numbered: its frames from 0 on, and its tables are this. */
export const TABLES = 0xffffffff;

const NONCE_BYTES = 12;
const LABEL = 'blockgate s3 log';

/** The data key of a volume. Seals nothing itself: every object has a key of its own, which follows from it. */
export class VolumeKey {
  readonly #key: Buffer;

  /** @param key 32 bytes that are known to nobody else. */
  constructor(key: Buffer) {
    this.#key = key;
  }

  /**
   * For the object at `name`, as somebody makes it who alone has `salt`: 16 random bytes. So two objects never have the same
   * key, whatever happens to epochs, and in one object each part is sealed once.
   */
  cipher(name: string, salt: Buffer, volume: Buffer = Buffer.alloc(0)): ObjectCipher {
    const context = createHash('sha256').update(volume).update(name).digest();
    const info = Buffer.concat([Buffer.from(LABEL), context]);
    const key = Buffer.from(hkdfSync('sha256', this.#key, salt, info, KEY_BYTES));
    return new ObjectCipher(createSecretKey(key), context);
  }

  /** The key itself, to be wrapped. */
  reveal(): Buffer {
    return this.#key;
  }
}

/** Seals the parts of one object: none of them can be read, changed, or put in another place without the key. */
export class ObjectCipher {
  readonly #key: KeyObject;
  readonly #context: Buffer;

  /** @param key an object, with which a frame takes half the time that it takes with bytes. */
  constructor(key: KeyObject, context: Buffer) {
    this.#key = key;
    this.#context = context;
  }

  /** Part number `part`, with what is not secret but must be as it is now. */
  seal(part: number, data: Uint8Array, also?: Uint8Array): Buffer {
    return Buffer.concat(this.sealed(part, data, also));
  }

  /** As `seal`, in two pieces that need not be copied. */
  sealed(part: number, data: Uint8Array, also: Uint8Array = NOTHING): readonly [Buffer, Buffer] {
    const cipher = createCipheriv(CIPHER, this.#key, nonceOf(part), { authTagLength: TAG_BYTES });
    cipher.setAAD(Buffer.concat([this.#context, also]));
    const sealed = cipher.update(data);
    cipher.final();
    return [sealed, cipher.getAuthTag()];
  }

  /** Throws when it was sealed with another key, as another part, or was changed since. */
  open(part: number, sealed: Uint8Array, also: Uint8Array = NOTHING): Buffer {
    const end = sealed.length - TAG_BYTES;
    if (end < 0) throw new Error(`${sealed.length} bytes are not sealed`);
    const cipher = createDecipheriv(CIPHER, this.#key, nonceOf(part), { authTagLength: TAG_BYTES });
    cipher.setAAD(Buffer.concat([this.#context, also]));
    cipher.setAuthTag(sealed.subarray(end));
    const data = cipher.update(sealed.subarray(0, end));
    try {
      cipher.final();
    } catch (cause) {
      throw new Error('it is not what was sealed with this key in this place', { cause });
    }
    return data;
  }
}

const NOTHING = new Uint8Array();

function nonceOf(part: number): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce.writeUInt32LE(part, 0);
  return nonce;
}
