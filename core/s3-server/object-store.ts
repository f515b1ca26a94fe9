import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GatewayError } from '../api/errors.ts';
import type { Logger } from '../api/logger.ts';
import { Bucket } from './bucket.ts';
import { DataLock } from './data-lock.ts';
import { syncDirectory } from './directory-sync.ts';
import { S3Error } from './errors.ts';
import { ObjectWriter } from './object-writer.ts';
import type { StoreContext } from './store-context.ts';

const FORMAT_FILE = 'blockgate-s3-server';
const FORMAT = 'format 1\n';
const BUCKET_FILE = 'bucket.json';

export interface ObjectStoreOptions {
  readonly dataDir: string;
  /** Whether a change is on stable storage before it is acknowledged. */
  readonly fsync: boolean;
  /** Objects in all buckets together; bounds the index in memory. */
  readonly maxObjects: number;
  readonly logger?: Logger | undefined;
}

/**
 * Buckets in a folder: `buckets/<name>/{bucket.json, objects/, uploads/}`, and `tmp/` for what is not whole yet.
 * Everything becomes visible by a rename, so that a crash leaves nothing but files in `tmp/`, swept at the next start.
 */
export class ObjectStore implements AsyncDisposable {
  readonly #lock: DataLock;
  readonly #options: ObjectStoreOptions;
  readonly #bucketsPath: string;
  readonly #tmpPath: string;
  readonly #buckets = new Map<string, Bucket>();
  readonly #context: StoreContext;
  /** Buckets being created or deleted. */
  readonly #changing = new Set<string>();
  #objects = 0;
  #tmpNames = 0;

  private constructor(lock: DataLock, options: ObjectStoreOptions) {
    this.#lock = lock;
    this.#options = options;
    this.#bucketsPath = join(options.dataDir, 'buckets');
    this.#tmpPath = join(options.dataDir, 'tmp');
    this.#context = {
      fsync: options.fsync,
      logger: options.logger,
      createWriter: () => ObjectWriter.create(this.#tmpName(), options.fsync),
      reserveObject: () => this.#reserveObject(),
      releaseObject: () => void this.#objects--,
    };
  }

  /** Takes the folder over, sweeps what a crash left and reads the index. */
  static async open(options: ObjectStoreOptions): Promise<ObjectStore> {
    await using stack = new AsyncDisposableStack();
    const lock = stack.use(await DataLock.acquire(options.dataDir));
    await checkFormat(options.dataDir);
    const store = new ObjectStore(lock, options);
    await store.#load();
    stack.move();
    return store;
  }

  /** Throws `NoSuchBucket`. */
  bucket(name: string): Bucket {
    const bucket = this.#buckets.get(name);
    if (!bucket) throw new S3Error('NoSuchBucket', undefined, { BucketName: name });
    return bucket;
  }

  /** By name. */
  buckets(): Bucket[] {
    return [...this.#buckets.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** False when the bucket was there already. */
  async createBucket(name: string): Promise<boolean> {
    requireBucketName(name);
    if (this.#buckets.has(name)) return false;
    using _ = this.#change(name);
    const { fsync } = this.#options;
    const tmp = this.#tmpName();
    const created = Date.now();
    await mkdir(join(tmp, 'objects'), { recursive: true });
    await mkdir(join(tmp, 'uploads'));
    await writeFile(join(tmp, BUCKET_FILE), JSON.stringify({ created }), { flush: fsync });
    await syncDirectory(tmp, fsync);
    const path = join(this.#bucketsPath, name);
    await rename(tmp, path);
    await syncDirectory(this.#bucketsPath, fsync);
    this.#buckets.set(name, await Bucket.load({ name, created, path }, this.#context));
    return true;
  }

  /** Throws `BucketNotEmpty` while it holds objects; uploads in progress go with it. */
  async deleteBucket(name: string): Promise<void> {
    const bucket = this.bucket(name);
    if (bucket.isBusy) throw new S3Error('OperationAborted');
    if (bucket.size > 0) throw new S3Error('BucketNotEmpty', undefined, { BucketName: name });
    using _ = this.#change(name);
    bucket.markDeleted();
    this.#buckets.delete(name);
    await bucket[Symbol.asyncDispose]();
    const tmp = this.#tmpName();
    await rename(bucket.path, tmp);
    await syncDirectory(this.#bucketsPath, this.#options.fsync);
    await rm(tmp, { recursive: true, force: true });
  }

  /** A file to write an object into; dispose of it. */
  createWriter(): Promise<ObjectWriter> {
    return this.#context.createWriter();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const bucket of this.#buckets.values()) await bucket[Symbol.asyncDispose]();
    this.#buckets.clear();
    await this.#lock[Symbol.asyncDispose]();
  }

  async #load(): Promise<void> {
    await rm(this.#tmpPath, { recursive: true, force: true });
    await mkdir(this.#tmpPath);
    await mkdir(this.#bucketsPath, { recursive: true });
    await syncDirectory(this.#options.dataDir, this.#options.fsync);
    for (const name of await readdir(this.#bucketsPath)) {
      const path = join(this.#bucketsPath, name);
      const { created } = JSON.parse(await readFile(join(path, BUCKET_FILE), 'utf8')) as { created: number };
      this.#buckets.set(name, await Bucket.load({ name, created, path }, this.#context));
    }
  }

  #change(name: string): Disposable {
    if (this.#changing.has(name)) throw new S3Error('OperationAborted');
    this.#changing.add(name);
    return { [Symbol.dispose]: () => void this.#changing.delete(name) };
  }

  #reserveObject(): void {
    if (this.#objects >= this.#options.maxObjects) throw new S3Error('InsufficientStorage');
    this.#objects++;
  }

  #tmpName(): string {
    return join(this.#tmpPath, String(this.#tmpNames++));
  }
}

/** Marks a new folder as ours; refuses one that holds something else or a later format. */
async function checkFormat(dataDir: string): Promise<void> {
  const path = join(dataDir, FORMAT_FILE);
  const found = await readFile(path, 'utf8').catch(() => undefined);
  if (found === FORMAT) return;
  // Empty: the server that wanted to write it died first.
  if (found !== undefined && found !== '') {
    throw new GatewayError(
      's3-server.unknown-format',
      `The data folder ${dataDir} has a format this version cannot read.`,
      {
        why: `It says ${JSON.stringify(found.trim())}; this version reads "${FORMAT.trim()}".`,
        fix: 'Use the version of blockgate that wrote it, or another data folder.',
      },
    );
  }
  const entries = await readdir(dataDir);
  if (entries.some((name) => name !== FORMAT_FILE)) {
    throw new GatewayError(
      's3-server.not-a-data-folder',
      `${dataDir} is not a data folder of the S3 server.`,
      {
        why: `It is not empty and has no file named ${FORMAT_FILE}.`,
        fix: 'Name an empty folder, one that does not exist yet, or one that the S3 server made.',
      },
    );
  }
  await writeFile(path, FORMAT, { flush: true });
}

/** The rules for names of general purpose buckets, as far as they keep names apart and safe as folder names. */
function requireBucketName(name: string): void {
  const valid = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) && !/\.\.|^\d+\.\d+\.\d+\.\d+$/.test(name);
  if (!valid) throw new S3Error('InvalidBucketName', undefined, { BucketName: name });
}
