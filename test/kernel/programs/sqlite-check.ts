/**
 * Runs in the guest: prints, as one line of JSON, what is in a database that `sqlite-writer.ts` has written, a
 * `DatabaseState`.
 *
 *   node sqlite-check.ts <database>
 */
import { createHash } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';

export interface DatabaseState {
  /** "ok", or what SQLite complains of. */
  readonly integrity: string;
  /** All of 1 … `rows` are there. */
  readonly rows: number;
  /** Rows that are missing in between. */
  readonly missing: number;
  /** Rows whose data is not what was committed. */
  readonly damaged: number;
}

const database = new DatabaseSync(process.argv[2]!);
const { integrity_check: integrity } = database.prepare('PRAGMA integrity_check').get() as {
  integrity_check: string;
};
let [count, last, damaged] = [0, 0, 0];
for (const row of database.prepare('SELECT id, data, hash FROM rows ORDER BY id').iterate()) {
  const { id, data, hash } = row as { id: number; data: Uint8Array; hash: string };
  count++;
  last = id;
  if (createHash('sha256').update(data).digest('hex') !== hash) damaged++;
}
const state: DatabaseState = { integrity, rows: last, missing: last - count, damaged };
process.stdout.write(`${JSON.stringify(state)}\n`);
