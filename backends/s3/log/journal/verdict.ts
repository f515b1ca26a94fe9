import type { Head } from '../head.ts';
import { journalDiverged, journalMissing } from './errors.ts';
import type { JournalFile } from './journal-file.ts';

/**
 * What the journal that is here means for the volume: `replay`, it has the end of it; `nothing`, all that counts is in the
 * store. Throws `volume.journal-missing` when the end of the volume is in another journal, unless that is given up by
 * `takeOver`, and `volume.journal-diverged` when what is in this one belongs to no past of the volume.
 */
export function judge(
  { journal: wanted, nonce }: Pick<Head, 'journal' | 'nonce'>,
  file: JournalFile | undefined,
  { takeOver, disk }: { readonly takeOver: boolean; readonly disk: string },
): 'replay' | 'nothing' {
  const header = file?.header;
  if (wanted != null) {
    if (wanted.session === header?.session.toString('hex')) return 'replay';
    // Its last writer died between having stored all of that session and saying so.
    if (file?.isEmpty && wanted.session === header?.before.toString('hex')) return 'nothing';
    if (!takeOver) throw journalMissing(`the journal ${wanted.path} on ${wanted.host}`, disk);
    if (file !== undefined && !file.isEmpty) throw diverged(file);
    return 'nothing';
  }
  // Of a writer that has stored everything, and said so in the head, it may hold what is stored as well.
  if (file !== undefined && !file.isEmpty && header?.nonce.toString('hex') !== nonce) throw diverged(file);
  return 'nothing';
}

const diverged = (file: JournalFile) => journalDiverged(file.path, `${file.bytes} bytes of changes`);
