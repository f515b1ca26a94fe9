import { randomBytes, randomUUID } from 'node:crypto';
import { z } from 'zod';
import { GatewayError, type PluginContext } from '../../../../core/plugin.ts';
import type { S3Config } from '../../config.ts';
import type { EncryptionConfig } from '../../encryption-config.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { isStoreError } from '../../store/store-error.ts';
import type { LogNames } from '../names.ts';
import type { LogRecord } from '../volume/volume-record.ts';
import { fillSlot, keySlot, openSlot } from './key-slots.ts';
import { type KeySource, readKeySource } from './key-source.ts';
import { KEY_BYTES, VolumeKey } from './volume-key.ts';

const MAX_BYTES = 64 * 1024;
const FORMAT = 'blockgate-log-keys';

const keysFile = z.object({
  format: z.literal(FORMAT),
  version: z.literal(1),
  /** Of the data key; clones have that of their parent. */
  id: z.uuid(),
  slots: z.array(keySlot).min(1).max(8),
});

type KeysFile = z.output<typeof keysFile>;
type Where = Pick<PluginContext, 'baseDir' | 'signal'>;
type Config = Pick<S3Config, 'prefix' | 'encryption'>;

/**
 * The data key of the volume; undefined when it is not encrypted. Throws `volume.not-encrypted`, `volume.key-missing`,
 * `volume.wrong-key`, `volume.bad-key`, `secret.missing` or `volume.corrupt`.
 */
export async function unlockVolume(
  store: ObjectStore,
  names: LogNames,
  record: Pick<LogRecord, 'encryption'>,
  { prefix, encryption }: Config,
  where: Where,
): Promise<VolumeKey | undefined> {
  if (record.encryption === undefined) {
    if (encryption === undefined) return undefined;
    throw notEncrypted(prefix);
  }
  if (encryption === undefined) throw keyMissing(prefix);
  const [keys, source] = await Promise.all([readKeys(store, names), readKeySource(encryption, where)]);
  return await open(keys.file, source, prefix);
}

function keyMissing(prefix: string): GatewayError {
  return new GatewayError('volume.key-missing', `The volume at "${prefix}" is encrypted.`, {
    why: 'The configuration names no key for it.',
    fix: 'Set "encryption" of the backend to what the volume was created with.',
  });
}

export function notEncrypted(prefix: string): GatewayError {
  return new GatewayError('volume.not-encrypted', `The volume at "${prefix}" is not encrypted.`, {
    why: 'The configuration has a key for it, and a volume is encrypted when it is created or never.',
    fix: 'Leave out "encryption", or create a volume with it and copy the data.',
  });
}

/** Makes the data key of a new volume, unless there is one. */
export async function createKeys(
  store: ObjectStore,
  names: LogNames,
  encryption: EncryptionConfig,
  where: Where,
): Promise<void> {
  const id = randomUUID();
  const slot = await fillSlot(await readKeySource(encryption, where), id, randomBytes(KEY_BYTES));
  try {
    await store.put(names.keys, encode({ format: FORMAT, version: 1, id, slots: [slot] }), {
      condition: 'absent',
    });
  } catch (error) {
    if (!isStoreError(error, 'precondition-failed')) throw error;
  }
}

/** A clone has the data key of its parent, and the same passphrase opens it. */
export async function copyKeys(store: ObjectStore, from: LogNames, to: LogNames): Promise<void> {
  const { file } = await readKeys(store, from);
  await store.put(to.keys, encode(file), { condition: 'absent' });
}

/** From now on only `next` opens the volume. The data key stays, and so does all data. */
export async function replaceKeys(
  store: ObjectStore,
  names: LogNames,
  { prefix, encryption }: Config,
  next: EncryptionConfig,
  where: Where,
): Promise<void> {
  if (encryption === undefined) throw keyMissing(prefix);
  const { file, etag } = await readKeys(store, names);
  const key = await open(file, await readKeySource(encryption, where), prefix);
  const slot = await fillSlot(await readKeySource(next, where), file.id, key.reveal());
  const body = encode({ ...file, slots: [slot] });
  try {
    await store.put(names.keys, body, { condition: { etag } });
    return;
  } catch (error) {
    if (!isStoreError(error, 'precondition-failed')) throw error;
  }
  // The answer to our own write may have been lost.
  const there = await store.get(names.keys, MAX_BYTES);
  if (there !== undefined && body.equals(there.body)) return;
  throw new GatewayError('volume.owner-contended', 'The keys of the volume were changed at the same time.', {
    why: `The object ${names.keys} changed while this command wanted to write it.`,
    fix: 'Run the command again.',
  });
}

async function open({ id, slots }: KeysFile, source: KeySource, prefix: string): Promise<VolumeKey> {
  for (const slot of slots) {
    const key = await openSlot(source, id, slot);
    if (key !== undefined) return new VolumeKey(key);
  }
  const wanted = [...new Set(slots.map(({ kind }) => `a ${kind}`))].join(' or ');
  throw new GatewayError('volume.wrong-key', `The key does not open the volume at "${prefix}".`, {
    why: slots.some(({ kind }) => kind === source.kind)
      ? `It is another ${source.kind} than the one that the volume was created with, or got last.`
      : `The configuration has a ${source.kind}, and ${wanted} opens the volume.`,
    fix: 'Correct "encryption" of the backend; nothing can be read without the right key.',
  });
}

async function readKeys(
  store: ObjectStore,
  names: LogNames,
): Promise<{ readonly file: KeysFile; readonly etag: string }> {
  const object = await store.get(names.keys, MAX_BYTES);
  let cause: unknown = new Error('it is missing');
  try {
    if (object !== undefined) {
      const file = keysFile.parse(JSON.parse(Buffer.from(object.body).toString('utf8')));
      return { file, etag: object.info.etag };
    }
  } catch (error) {
    cause = error;
  }
  throw new GatewayError(
    'volume.corrupt',
    `The object ${names.keys}, which holds the wrapped key, is damaged.`,
    {
      why: (cause as Error).message,
      fix: 'Restore it from a backup or an older version. Without it the volume cannot be read.',
      cause,
    },
  );
}

const encode = (file: KeysFile): Buffer => Buffer.from(`${JSON.stringify(file, undefined, 2)}\n`);
