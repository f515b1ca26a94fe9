/**
 * Runs in the guest: commits rows to a database, each in a transaction of its own, until it is killed; says after each which
 * it was, in a file on the host.
 *
 *   node sqlite-writer.ts <database> <journal mode> <file>
 */
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { openSync, writeSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

const [path, journalMode, said] = process.argv.slice(2) as [string, string, string];
const database = new DatabaseSync(path);
// With FULL, the removal of a journal, which is what commits in the mode DELETE, may be lost when the machine is.
database.exec(`PRAGMA journal_mode=${journalMode}; PRAGMA synchronous=EXTRA`);
database.exec(
  'CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, data BLOB NOT NULL, hash TEXT NOT NULL)',
);
const insert = database.prepare('INSERT INTO rows (data, hash) VALUES (?, ?)');
// What was committed changes places as well.
const grow = database.prepare('UPDATE rows SET data = ?, hash = ? WHERE id = ?');
const file = openSync(said, 'a');

for (;;) {
  const data = (): [Buffer, string] => {
    const bytes = randomBytes(randomInt(100, 20_000));
    return [bytes, createHash('sha256').update(bytes).digest('hex')];
  };
  database.exec('BEGIN');
  const { lastInsertRowid } = insert.run(...data());
  grow.run(...data(), randomInt(1, Number(lastInsertRowid) + 1));
  database.exec('COMMIT');
  writeSync(file, `${lastInsertRowid}\n`);
}
