import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { formatSize, type OpenContext } from '../../../../core/plugin.ts';
import type { S3Config } from '../../config.ts';
import { uuidBytes } from '../object-header.ts';
import type { LogWriter } from '../writer.ts';
import { journalUnusable } from './errors.ts';
import { Journal } from './journal.ts';
import { JournalFile } from './journal-file.ts';
import { openStorage } from './storage.ts';

/**
 * The journal of the disk, as it was left; closed with `undo`. Undefined: flushes wait for the store. Throws
 * `volume.journal-unusable`.
 */
export async function openJournalFile(
  { flush, journal }: S3Config,
  { baseDir }: Pick<OpenContext, 'baseDir'>,
  volume: string,
  undo: AsyncDisposableStack,
): Promise<JournalFile | undefined> {
  if (flush !== 'local' || journal === undefined) return undefined;
  const path = resolve(baseDir, journal.path);
  const storage = await openStorage(path, journal.size);
  undo.defer(() => storage.close());
  const file = await JournalFile.read(storage, uuidBytes(volume));
  if (typeof file === 'string') throw journalUnusable(path, file);
  return file;
}

/** Brings what is in the journal to the store: it is durable there when this settles. Returns the number of changes. */
export async function replayJournal(file: JournalFile, { appender }: LogWriter): Promise<number> {
  let changes = 0;
  await file.replay(async ({ lba, blocks, data }) => {
    changes++;
    await (data === undefined ? appender.zero(lba, blocks) : appender.write(lba, blocks, [data], 0));
  });
  await appender.flush();
  return changes;
}

/** From here on writes and flushes are answered by the journal, which holds nothing that counts. */
export async function useJournal(
  file: JournalFile,
  writer: LogWriter,
  { maxLagBytes, maxLagMs }: S3Config,
  { logger }: Pick<OpenContext, 'logger'>,
): Promise<void> {
  const { appender } = writer;
  const session = randomBytes(16);
  // First the journal: it says which session it replaces.
  await file.reset(Buffer.from(writer.head.nonce, 'hex'), session);
  const ref = { session: session.toString('hex'), host: hostname(), path: file.path };
  await writer.change(() => ({ journal: ref }));
  const store = async (): Promise<void> => void (await appender.flushToStore());
  appender.journal = new Journal({
    file,
    maxLagBytes: maxLagBytes ?? Number.POSITIVE_INFINITY,
    maxLagMs: maxLagMs ?? Number.POSITIVE_INFINITY,
    logger,
    throwIfFailed: () => appender.throwIfFailed(),
    hurry: () => appender.hurry(),
    abandon: async () => {
      await store();
      await writer.change(() => ({ journal: null }));
    },
    store,
  });
}

/** What a flush promises, for the log. */
export function promiseOf(
  { flush, maxLagBytes, maxLagMs, writeBuffer }: S3Config,
  file?: JournalFile,
): string {
  if (flush !== 'local' || file === undefined)
    return 'a flush is in the store: it survives the loss of this machine';
  const bytes = formatSize(Math.min(maxLagBytes ?? writeBuffer, writeBuffer));
  const age =
    maxLagMs === undefined ? 'of any age while the store is away' : `of the last ${maxLagMs / 1000} s`;
  return `a flush is in the journal ${file.path}: it survives the death of the process and a power failure; the loss of that disk costs up to ${bytes} of changes, ${age}`;
}
