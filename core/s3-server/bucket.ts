import { type FileHandle, mkdir, open, readdir, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Precondition } from './conditions.ts';
import { DirectorySync } from './directory-sync.ts';
import { S3Error } from './errors.ts';
import { keyToFileName } from './file-names.ts';
import { KeyLocks } from './key-locks.ts';
import { type ObjectMetadata, readMetadata } from './object-file.ts';
import type { ObjectWriter } from './object-writer.ts';
import { SortedKeys } from './sorted-keys.ts';
import type { StoreContext } from './store-context.ts';
import { Uploads } from './uploads.ts';

/** Files whose metadata is read at once while a bucket is loaded. */
const LOAD_BATCH = 64;

/** An object open for reading. Belongs to whoever asked for it. */
export interface OpenObject {
  readonly metadata: ObjectMetadata;
  readonly handle: FileHandle;
}

/**
 * The objects of one bucket: a folder of object files and, in memory, their metadata and the order of their keys.
 *
 * A change to a key holds the key's lock from its precondition until it is durable; only then does the index show
 * it. So nobody reads what a power failure could take back, and of several conditional writes exactly one wins.
 */
export class Bucket implements AsyncDisposable {
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly created: number;
  readonly path: string;
  readonly uploads: Uploads;
  readonly #context: StoreContext;
  readonly #objectsPath: string;
  readonly #directory: DirectorySync;
  readonly #locks = new KeyLocks();
  readonly #index: Map<string, ObjectMetadata>;
  readonly #keys: SortedKeys;
  #deleted = false;

  private constructor(
    identity: { name: string; created: number; path: string },
    parts: {
      context: StoreContext;
      directory: DirectorySync;
      index: Map<string, ObjectMetadata>;
      uploads: Uploads;
    },
  ) {
    this.name = identity.name;
    this.created = identity.created;
    this.path = identity.path;
    this.#objectsPath = join(identity.path, 'objects');
    this.#context = parts.context;
    this.#directory = parts.directory;
    this.#index = parts.index;
    this.#keys = SortedKeys.from(parts.index.keys());
    this.uploads = parts.uploads;
  }

  static async load(
    identity: { name: string; created: number; path: string },
    context: StoreContext,
  ): Promise<Bucket> {
    const objectsPath = join(identity.path, 'objects');
    const uploadsPath = join(identity.path, 'uploads');
    await mkdir(objectsPath, { recursive: true });
    await mkdir(uploadsPath, { recursive: true });
    const index = await loadIndex(objectsPath, context);
    const uploads = await Uploads.load(uploadsPath, context, index);
    const directory = await DirectorySync.open(objectsPath, context.fsync);
    return new Bucket(identity, { context, directory, index, uploads });
  }

  /** How many objects there are. */
  get size(): number {
    return this.#index.size;
  }

  /** Whether a change is being made to some key. */
  get isBusy(): boolean {
    return this.#locks.size > 0;
  }

  /** From here on the bucket does not exist for anybody who still holds it. */
  markDeleted(): void {
    this.#deleted = true;
    this.uploads.markDeleted();
  }

  /** The metadata of an object. Throws `NoSuchKey`. */
  head(key: string): ObjectMetadata {
    const metadata = this.#index.get(key);
    if (!metadata) throw new S3Error('NoSuchKey', undefined, { Key: key });
    return metadata;
  }

  find(key: string): ObjectMetadata | undefined {
    return this.#index.get(key);
  }

  /** Opens an object so that bytes and metadata are of the same version, whatever happens to the key meanwhile. */
  async open(key: string): Promise<OpenObject> {
    const metadata = this.head(key);
    if (!this.#locks.isHeld(key)) {
      const handle = await open(this.#pathOf(key), 'r').catch(undefinedIfMissing);
      if (handle && this.#index.get(key) === metadata && !this.#locks.isHeld(key))
        return { metadata, handle };
      await handle?.close();
    }
    using _ = await this.#locks.acquire(key);
    return { metadata: this.head(key), handle: await open(this.#pathOf(key), 'r') };
  }

  /** Puts a finished file in the place of `metadata.key` if the precondition allows; durable on return. */
  async put(writer: ObjectWriter, metadata: ObjectMetadata, precondition: Precondition): Promise<void> {
    const { key } = metadata;
    using _ = await this.#locks.acquire(key);
    const current = this.#current(key);
    precondition(current);
    if (!current) this.#context.reserveObject();
    try {
      await rename(writer.path, this.#pathOf(key));
    } catch (error) {
      if (!current) this.#context.releaseObject();
      throw error;
    }
    writer.moved();
    try {
      await this.#directory.sync();
    } finally {
      // Even if the flush failed, the new file is what the folder shows.
      this.#index.set(key, metadata);
      this.#keys.add(key);
    }
  }

  /** Removes an object if the precondition allows; durable on return. False when there was none. */
  async delete(key: string, precondition: Precondition): Promise<boolean> {
    using _ = await this.#locks.acquire(key);
    const current = this.#current(key);
    precondition(current);
    if (!current) return false;
    await unlink(this.#pathOf(key));
    try {
      await this.#directory.sync();
    } finally {
      this.#index.delete(key);
      this.#keys.delete(key);
      this.#context.releaseObject();
    }
    return true;
  }

  /** As `SortedKeys.first`, over the keys of the bucket. */
  firstKey(isBefore: (key: string) => boolean): string | undefined {
    return this.#keys.first(isBefore);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#directory[Symbol.asyncDispose]();
  }

  #current(key: string): ObjectMetadata | undefined {
    if (this.#deleted) throw new S3Error('NoSuchBucket', undefined, { BucketName: this.name });
    return this.#index.get(key);
  }

  #pathOf(key: string): string {
    return join(this.#objectsPath, keyToFileName(key));
  }
}

async function loadIndex(objectsPath: string, context: StoreContext): Promise<Map<string, ObjectMetadata>> {
  const index = new Map<string, ObjectMetadata>();
  const names = await readdir(objectsPath);
  for (let i = 0; i < names.length; i += LOAD_BATCH) {
    const batch = names.slice(i, i + LOAD_BATCH);
    const found = await Promise.all(batch.map((name) => readMetadata(join(objectsPath, name))));
    for (const [j, metadata] of found.entries()) {
      const name = batch[j]!;
      if (!metadata || keyToFileName(metadata.key) !== name) {
        context.logger?.warn('object file is damaged, leaving it out', { path: join(objectsPath, name) });
        continue;
      }
      context.reserveObject();
      index.set(metadata.key, metadata);
    }
  }
  return index;
}

function undefinedIfMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT') return undefined;
  throw error;
}
