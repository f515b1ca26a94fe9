import { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { addStateDirOption } from '../gateway-options.ts';
import { momentArgument } from '../moment.ts';
import { snapshotName } from '../snapshot-name.ts';

export interface SnapshotOptions {
  readonly stateDir: string;
  readonly json?: boolean;
  readonly at?: Date;
}

const NOTES = `
What was written before is in it, whether it was flushed or not; what file systems on the disk still hold in memory is not:
freeze them for as long as it takes (fsfreeze). With --at, the newest of the times is taken that are not after the one given;
"blockgate volume points" lists those that are kept. "blockgate volume snapshot" is for volumes that no disk has open, and so are
going back to a snapshot, cloning and deleting it.

Examples:
  blockgate snapshot disk0 before-upgrade
  blockgate snapshot disk0 before-the-mistake --at "2h ago"
  fsfreeze -f /mnt && blockgate snapshot disk0 nightly; fsfreeze -u /mnt`;

export function snapshotCommand(ctx: CommandContext): Command {
  const command = new Command('snapshot')
    .description('keep what a disk in use holds now under a name')
    .argument('<disk>', 'disk of a running gateway')
    .argument('<name>', 'of the snapshot', snapshotName)
    .option('--at <time>', 'what the disk was at that time, and not now, e.g. "2h ago"', momentArgument)
    .option('--json', 'one JSON object')
    .addHelpText('after', NOTES);
  return addStateDirOption(command).action(async (disk: string, name: string, options: SnapshotOptions) => {
    const { snapshotDisk } = await import('../operate-disk.ts');
    await snapshotDisk(disk, name, options, ctx.terminal);
  });
}
