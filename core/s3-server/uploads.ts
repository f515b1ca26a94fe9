import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ChecksumAlgorithm, ChecksumType } from './checksums.ts';
import { syncDirectory } from './directory-sync.ts';
import { S3Error } from './errors.ts';
import { KeyLocks } from './key-locks.ts';
import { type ObjectMetadata, readMetadata } from './object-file.ts';
import type { ObjectWriter } from './object-writer.ts';
import type { StoreContext } from './store-context.ts';

/** What CreateMultipartUpload fixes for the object to come. */
export interface UploadDescription {
  readonly key: string;
  /** Milliseconds since 1970. */
  readonly initiated: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly checksum?: { readonly algorithm: ChecksumAlgorithm; readonly type: ChecksumType } | undefined;
}

/** A multipart upload in progress. */
export interface Upload extends UploadDescription {
  readonly id: string;
  /** By part number, 1 to 10 000. */
  readonly parts: Map<number, ObjectMetadata>;
}

const DESCRIPTION_FILE = 'upload.json';

/** The multipart uploads of one bucket: a folder each, with a description and one object file per part. */
export class Uploads {
  readonly #path: string;
  readonly #context: StoreContext;
  readonly #uploads: Map<string, Upload>;
  readonly #locks = new KeyLocks();
  #deleted = false;

  private constructor(path: string, context: StoreContext, uploads: Map<string, Upload>) {
    this.#path = path;
    this.#context = context;
    this.#uploads = uploads;
  }

  /** Reads the uploads on disk; sweeps those whose object `completed` already holds. */
  static async load(
    path: string,
    context: StoreContext,
    completed: ReadonlyMap<string, ObjectMetadata>,
  ): Promise<Uploads> {
    const uploads = new Map<string, Upload>();
    for (const id of await readdir(path)) {
      const upload = await loadUpload(join(path, id), id);
      if (!upload || completed.get(upload.key)?.uploadId === id) {
        await rm(join(path, id), { recursive: true, force: true });
      } else uploads.set(id, upload);
    }
    return new Uploads(path, context, uploads);
  }

  /** The bucket is gone, and its uploads with it. */
  markDeleted(): void {
    this.#deleted = true;
    this.#uploads.clear();
  }

  async create(description: UploadDescription): Promise<Upload> {
    if (this.#deleted) throw new S3Error('NoSuchBucket');
    const id = randomBytes(16).toString('hex');
    const folder = join(this.#path, id);
    await mkdir(folder);
    await writeFile(join(folder, DESCRIPTION_FILE), JSON.stringify(description), {
      flush: this.#context.fsync,
    });
    await syncDirectory(folder, this.#context.fsync);
    await syncDirectory(this.#path, this.#context.fsync);
    const upload: Upload = { ...description, id, parts: new Map() };
    this.#uploads.set(id, upload);
    return upload;
  }

  /** Throws `NoSuchUpload` unless the upload exists and is for `key`. */
  get(id: string, key: string): Upload {
    const upload = this.#uploads.get(id);
    if (upload?.key !== key) throw new S3Error('NoSuchUpload', undefined, { UploadId: id });
    return upload;
  }

  /** In no order. */
  all(): Iterable<Upload> {
    return this.#uploads.values();
  }

  /** Puts a finished file in place as a part, over an earlier one of the same number; durable on return. */
  async putPart(upload: Upload, number: number, writer: ObjectWriter, part: ObjectMetadata): Promise<void> {
    using _ = await this.#locks.acquire(upload.id);
    this.get(upload.id, upload.key);
    await rename(writer.path, this.partPath(upload, number));
    writer.moved();
    upload.parts.set(number, part);
    await syncDirectory(join(this.#path, upload.id), this.#context.fsync);
  }

  partPath(upload: Upload, number: number): string {
    return join(this.#path, upload.id, String(number).padStart(5, '0'));
  }

  /** Runs `work` while no part can be added and nobody else can complete or abort; then the upload is gone. */
  async finish<T>(id: string, key: string, work: (upload: Upload) => Promise<T>): Promise<T> {
    using _ = await this.#locks.acquire(id);
    const result = await work(this.get(id, key));
    this.#uploads.delete(id);
    await rm(join(this.#path, id), { recursive: true, force: true });
    await syncDirectory(this.#path, this.#context.fsync);
    return result;
  }
}

async function loadUpload(folder: string, id: string): Promise<Upload | undefined> {
  const description = await readFile(join(folder, DESCRIPTION_FILE), 'utf8').then(
    parseDescription,
    () => undefined,
  );
  if (!description) return undefined;
  const parts = new Map<number, ObjectMetadata>();
  for (const name of await readdir(folder)) {
    const metadata = /^\d{5}$/.test(name) ? await readMetadata(join(folder, name)) : undefined;
    if (metadata) parts.set(Number(name), metadata);
  }
  return { ...description, id, parts };
}

/** Undefined when a crash cut the description short: its upload was never acknowledged. */
function parseDescription(text: string): UploadDescription | undefined {
  try {
    return JSON.parse(text) as UploadDescription;
  } catch {
    return undefined;
  }
}
