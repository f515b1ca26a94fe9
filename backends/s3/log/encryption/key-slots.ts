import {
  createCipheriv,
  createDecipheriv,
  hkdfSync,
  randomBytes,
  type ScryptOptions,
  scrypt,
} from 'node:crypto';
import { z } from 'zod';
import type { KeySource } from './key-source.ts';
import { CIPHER, KEY_BYTES, TAG_BYTES } from './volume-key.ts';

const SALT_BYTES = 32;
const NONCE_BYTES = 12;
/** 64 MiB and about a quarter of a second. */
const SCRYPT = { cost: 2 ** 16, blockSize: 8, parallelization: 2 };
/** What a slot may want of us: it is read from a store. Bytes. */
const MAX_SCRYPT_MEMORY = 512 * 2 ** 20;
const LABEL = 'blockgate s3 key';

const bytes = (length: number) =>
  z.base64().refine((text) => Buffer.from(text, 'base64').length === length, `it has not ${length} bytes`);

const wrapped = { salt: bytes(SALT_BYTES), nonce: bytes(NONCE_BYTES), wrapped: bytes(KEY_BYTES + TAG_BYTES) };

const scryptParameters = z
  .object({
    cost: z
      .int()
      .min(2 ** 14)
      .max(2 ** 20)
      .refine((cost) => Number.isInteger(Math.log2(cost)), 'it is no power of two'),
    blockSize: z.int().min(1).max(32),
    parallelization: z.int().min(1).max(16),
  })
  .refine(({ cost, blockSize }) => 128 * cost * blockSize <= MAX_SCRYPT_MEMORY, 'it wants too much memory');

/** A copy of the data key, which one passphrase or one key opens. */
export const keySlot = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('passphrase'), scrypt: scryptParameters, ...wrapped }),
  z.object({ kind: z.literal('key'), ...wrapped }),
]);

export type KeySlot = z.output<typeof keySlot>;

/** `id`: names the data key, so that no slot can be taken for that of another. */
export async function fillSlot(source: KeySource, id: string, dataKey: Buffer): Promise<KeySlot> {
  const [salt, nonce] = [randomBytes(SALT_BYTES), randomBytes(NONCE_BYTES)];
  const wrapping = await wrappingKey(source, salt, SCRYPT);
  const cipher = createCipheriv(CIPHER, wrapping, nonce).setAAD(Buffer.from(LABEL + id));
  const sealed = Buffer.concat([cipher.update(dataKey), cipher.final(), cipher.getAuthTag()]);
  const parts = {
    salt: salt.toString('base64'),
    nonce: nonce.toString('base64'),
    wrapped: sealed.toString('base64'),
  };
  return source.kind === 'passphrase'
    ? { kind: 'passphrase', scrypt: SCRYPT, ...parts }
    : { kind: 'key', ...parts };
}

/** The data key; undefined when this is not the slot's passphrase or key. */
export async function openSlot(source: KeySource, id: string, slot: KeySlot): Promise<Buffer | undefined> {
  if (slot.kind !== source.kind) return undefined;
  const sealed = Buffer.from(slot.wrapped, 'base64');
  const parameters = slot.kind === 'passphrase' ? slot.scrypt : SCRYPT;
  const wrapping = await wrappingKey(source, Buffer.from(slot.salt, 'base64'), parameters);
  const cipher = createDecipheriv(CIPHER, wrapping, Buffer.from(slot.nonce, 'base64'), {
    authTagLength: TAG_BYTES,
  });
  cipher.setAAD(Buffer.from(LABEL + id)).setAuthTag(sealed.subarray(KEY_BYTES));
  const dataKey = cipher.update(sealed.subarray(0, KEY_BYTES));
  try {
    cipher.final();
  } catch {
    return undefined;
  }
  return dataKey;
}

/** `parameters` are for a passphrase. */
async function wrappingKey(source: KeySource, salt: Buffer, parameters: typeof SCRYPT): Promise<Buffer> {
  if (source.kind === 'key') return Buffer.from(hkdfSync('sha256', source.key, salt, LABEL, KEY_BYTES));
  const options: ScryptOptions = { ...parameters, maxmem: MAX_SCRYPT_MEMORY + 2 ** 20 };
  // One passphrase is one sequence of bytes, whichever keyboard it comes from.
  const passphrase = source.passphrase.reveal().normalize('NFKC');
  return await new Promise((resolve, reject) =>
    scrypt(passphrase, salt, KEY_BYTES, options, (error, key) =>
      error === null ? resolve(key) : reject(error),
    ),
  );
}
