import { closedTo } from '../../core/app/user-access.ts';
import { findUser } from '../../core/system/user.ts';

/** Why tests of `--user nobody` are skipped, and how they are not. */
export const CLOSED_TO_NOBODY =
  'This checkout lies where "nobody" may not enter. To run this test: git clone . /tmp/blockgate && cd /tmp/blockgate && npm test';

/** Whether the processes of such a disk could not even load the program. Only root can tell. */
export async function isClosedToNobody(): Promise<boolean> {
  if (process.getuid?.() !== 0) return false;
  return (await closedTo(findUser('nobody')!, [import.meta.filename, process.execPath])) !== undefined;
}
