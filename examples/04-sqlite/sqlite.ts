import { resolve } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import {
  type BlockDevice,
  BlockError,
  copyIn,
  copyOut,
  defineBackend,
  GatewayError,
  type IoVec,
  iovLength,
  sizeSchema,
} from 'blockgate/plugin';
import { z } from 'zod';

const BLOCK = 4096;

/**
 * One row per block that is not zero. Everything between two flushes is one transaction: what is not flushed when the
 * process dies is gone altogether, and the device says so (`writeCache`).
 */
class SqliteDisk implements BlockDevice {
  readonly info;
  readonly #database: DatabaseSync;
  readonly #select: StatementSync;
  readonly #insert: StatementSync;
  readonly #delete: StatementSync;
  #inTransaction = false;

  constructor(database: DatabaseSync, size: number) {
    // Without "concurrency" there is one call at a time, which is what a synchronous database can do.
    this.info = { size, caps: { writeCache: 'process' }, limits: { blockSize: BLOCK } } as const;
    this.#database = database;
    this.#select = database.prepare('SELECT data FROM block WHERE number = ?');
    this.#insert = database.prepare('INSERT OR REPLACE INTO block (number, data) VALUES (?, ?)');
    this.#delete = database.prepare('DELETE FROM block WHERE number >= ? AND number < ?');
  }

  read(offset: number, iov: IoVec): void {
    const length = iovLength(iov);
    for (let at = 0; at < length; at += BLOCK) {
      const row = run(() => this.#select.get((offset + at) / BLOCK)) as { data: Uint8Array } | undefined;
      copyIn(iov, row?.data ?? new Uint8Array(BLOCK), at);
    }
  }

  write(offset: number, iov: IoVec): void {
    this.#begin();
    const length = iovLength(iov);
    for (let at = 0; at < length; at += BLOCK) {
      const data = new Uint8Array(BLOCK);
      copyOut(iov, data, at);
      run(() => this.#insert.run((offset + at) / BLOCK, data));
    }
  }

  /** A row that is missing is a block of zeros. */
  writeZeroes(offset: number, length: number): void {
    this.#begin();
    run(() => this.#delete.run(offset / BLOCK, (offset + length) / BLOCK));
  }

  discard(offset: number, length: number): void {
    this.writeZeroes(offset, length);
  }

  flush(): void {
    if (!this.#inTransaction) return;
    run(() => this.#database.exec('COMMIT'));
    this.#inTransaction = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.flush();
    this.#database.close();
  }

  #begin(): void {
    if (this.#inTransaction) return;
    run(() => this.#database.exec('BEGIN IMMEDIATE'));
    this.#inTransaction = true;
  }
}

function run<T>(call: () => T): T {
  try {
    return call();
  } catch (cause) {
    const { errcode, message } = cause as { errcode?: number; message: string };
    // SQLITE_FULL
    throw new BlockError(errcode === 13 ? 'ENOSPC' : 'EIO', message, { cause });
  }
}

function openDatabase(path: string, readOnly: boolean): DatabaseSync {
  try {
    const database = new DatabaseSync(path, { readOnly });
    // A commit is durable when it returns. One gateway at a time: a second one cannot even read.
    database.exec('PRAGMA synchronous = FULL; PRAGMA busy_timeout = 2000');
    if (!readOnly) {
      database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
      database.exec(
        'CREATE TABLE IF NOT EXISTS block (number INTEGER PRIMARY KEY, data BLOB NOT NULL); COMMIT',
      );
    }
    return database;
  } catch (cause) {
    throw new GatewayError('sqlite.open-failed', `The database ${path} cannot be opened.`, {
      why: (cause as Error).message,
      fix: 'Correct "path", or stop the gateway that has it open.',
      cause,
    });
  }
}

export default defineBackend({
  name: 'sqlite',
  description: 'Keeps a disk in a table of a SQLite database.',
  config: z.strictObject({
    path: z.string().min(1).meta({ description: 'The database; made when it is missing.' }),
    size: sizeSchema({ min: BLOCK, multipleOf: BLOCK }).meta({ description: 'Size of the disk.' }),
  }),
  open: async ({ path, size }, ctx) =>
    new SqliteDisk(openDatabase(resolve(ctx.baseDir, path), ctx.readOnly), size),
});
