import { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { addStateDirOption } from '../gateway-options.ts';
import { snapshotName } from '../snapshot-name.ts';

export interface SnapshotOptions {
  readonly stateDir: string;
  readonly json?: boolean;
}

const NOTES = `
What was written before is in it, whether it was flushed or not; what file systems on the disk still hold in memory is not:
freeze them for as long as it takes (fsfreeze). "blockgate volume snapshot" is for volumes that no disk has open, and so are
going back to a snapshot, cloning and deleting it.

Examples:
  blockgate snapshot disk0 before-upgrade
  fsfreeze -f /mnt && blockgate snapshot disk0 nightly; fsfreeze -u /mnt`;

export function snapshotCommand(ctx: CommandContext): Command {
  const command = new Command('snapshot')
    .description('keep what a disk in use holds now under a name')
    .argument('<disk>', 'disk of a running gateway')
    .argument('<name>', 'of the snapshot', snapshotName)
    .option('--json', 'one JSON object')
    .addHelpText('after', NOTES);
  return addStateDirOption(command).action(async (disk: string, name: string, options: SnapshotOptions) => {
    const { snapshotDisk } = await import('../operate-disk.ts');
    await snapshotDisk(disk, name, options, ctx.terminal);
  });
}
