import { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { addStateDirOption, sizeArgument } from '../gateway-options.ts';

export interface ResizeOptions {
  readonly stateDir: string;
  readonly json?: boolean;
}

const NOTES = `
With a size, grows the store; without, takes what it has grown to, for instance a logical volume. Disks only grow. The
file system on the disk has to be grown afterwards (resize2fs, xfs_growfs). A "size" in plugins.json has to be brought
in line before the gateway is started the next time.

Examples:
  blockgate resize disk0 20GiB
  lvextend --size 20G vg/disk0 && blockgate resize disk0`;

export function resizeCommand(ctx: CommandContext): Command {
  const command = new Command('resize')
    .description('grow a disk in use')
    .argument('<disk>', 'disk of a running gateway')
    .argument('[size]', 'the new size, e.g. 20GiB; default: the size its store has by now', sizeArgument)
    .option('--json', 'one JSON object with the size in bytes')
    .addHelpText('after', NOTES);
  return addStateDirOption(command).action(
    async (disk: string, size: number | undefined, options: ResizeOptions) => {
      const { resizeDisk } = await import('../operate-disk.ts');
      await resizeDisk(disk, size, options, ctx.terminal);
    },
  );
}
