import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ObjectStore } from '../s3-server/object-store.ts';

export interface S3Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** A folder of the embedded S3 server's: `store/` with the buckets, and `keys/` with what opens them. */
export class S3Folder {
  readonly store: string;
  /** One file each, so that plugins.json can name them as secrets. */
  readonly accessKeyFile: string;
  readonly secretKeyFile: string;

  constructor(path: string) {
    this.store = join(path, 'store');
    this.accessKeyFile = join(path, 'keys', 'access-key-id');
    this.secretKeyFile = join(path, 'keys', 'secret-access-key');
  }

  /** Made the first time, kept afterwards, readable by this user alone. */
  async keys(): Promise<S3Keys> {
    return {
      accessKeyId: await keptSecret(this.accessKeyFile, 10),
      secretAccessKey: await keptSecret(this.secretKeyFile, 20),
    };
  }

  /** Makes buckets that are missing. No server may run on the folder. */
  async ensureBuckets(names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    await mkdir(this.store, { recursive: true });
    await using store = await ObjectStore.open({ dataDir: this.store, fsync: true, maxObjects: 1_000_000 });
    for (const name of names) await store.createBucket(name);
  }
}

async function keptSecret(file: string, bytes: number): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trimEnd();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  await mkdir(join(file, '..'), { recursive: true, mode: 0o700 });
  const secret = randomBytes(bytes).toString('hex');
  await writeFile(file, `${secret}\n`, { mode: 0o600, flag: 'wx' });
  return secret;
}
