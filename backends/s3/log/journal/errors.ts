import { GatewayError } from '../../../../core/plugin.ts';

export function journalUnusable(path: string, why: string, cause?: unknown): GatewayError {
  return new GatewayError('volume.journal-unusable', `The journal ${path} cannot be used.`, {
    why,
    fix: 'Correct "journal", or free the file; nothing was written to it.',
    cause,
  });
}

/** What was acknowledged may be in a journal that is not here. */
export function journalMissing(where: string, disk: string): GatewayError {
  return new GatewayError(
    'volume.journal-missing',
    'The end of this volume is in a journal that is not here.',
    {
      why: `Its last writer answered flushes when they were in ${where}, and may not have stored all of them.`,
      fix: `Start it there once, with that journal. If the journal is lost: blockgate run --take-over ${disk}, which gives up what was in it.`,
    },
  );
}

/** What is in the journal can never come to the volume. */
export function journalDiverged(path: string, changes: string): GatewayError {
  return new GatewayError(
    'volume.journal-diverged',
    `The journal ${path} belongs to another past of this volume.`,
    {
      why: `It holds ${changes} that are not in the store, and another gateway has changed the volume since.`,
      fix: 'Move the journal away to go on without what is in it; a new one is made.',
    },
  );
}
