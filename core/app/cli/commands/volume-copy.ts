import { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { addGatewayOptions, type GatewayOptions, settingsFrom } from '../gateway-options.ts';

export interface CopyCommandOptions extends GatewayOptions {
  readonly format?: string;
  readonly allowSmaller?: boolean;
  readonly overwrite?: boolean;
  readonly resume?: boolean;
  readonly verify?: boolean;
  readonly json?: boolean;
}

const NOTES = `
Nobody may have the disk open. An image is a file, a block device, or an NBD URI; files in formats of QEMU (qcow2, vmdk …)
go by way of qemu-nbd. Zeros are not copied where they are there already. A copy that was interrupted goes on with
--resume.`;

/** `volume import` and `volume export`. */
export function addCopyCommands(command: Command, ctx: CommandContext): void {
  const subcommand = (direction: 'import' | 'export', description: string, image: string) =>
    addGatewayOptions(new Command(direction).description(description))
      .argument('<disk>', 'a disk of the configuration')
      .argument('<image>', image)
      .option('--format <name>', 'format of the image, as QEMU calls it (default: found out)')
      .option('--resume', 'go on with a copy that was interrupted')
      .option('--verify', 'read both sides again, and compare')
      .option('--json', 'one JSON object')
      .addHelpText('after', NOTES)
      .action(async (disk: string, place: string, options: CopyCommandOptions) => {
        const { copyVolume } = await import('../copy-volume.ts');
        ctx.exitCode = await copyVolume(
          { ...options, direction, disk, image: place },
          settingsFrom(options, ctx.terminal),
          ctx.terminal,
        );
      });
  command.addCommand(
    subcommand('import', 'make the disk what an image is', 'a file, a block device, or an NBD URI').option(
      '--allow-smaller',
      'the image may be smaller than the disk, whose rest becomes zeros',
    ),
  );
  command.addCommand(
    subcommand('export', 'copy the disk into an image', 'a new file, a block device, or an NBD URI').option(
      '--overwrite',
      'replace a file that is there',
    ),
  );
}
