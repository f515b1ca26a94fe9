import { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import {
  addGatewayOptions,
  type GatewayOptions,
  jsonArgument,
  settingsFrom,
  sizeArgument,
} from '../gateway-options.ts';
import { snapshotName } from '../snapshot-name.ts';
import type { VolumeAction } from '../volumes.ts';
import { addCopyCommands } from './volume-copy.ts';

export interface VolumeOptions extends GatewayOptions {
  readonly json?: boolean;
  readonly yes?: boolean;
  readonly force?: boolean;
  readonly data?: boolean;
  readonly repair?: boolean;
}

const NOTES = `
A target is a disk of the configuration, or a backend as JSON: '{"type":"file","path":"disk.img","size":"1GiB"}'.

Examples:
  blockgate volume create disk0
  blockgate volume info disk0 --json
  blockgate volume resize disk0 20GiB
  blockgate volume check disk0 --data
  blockgate volume snapshot disk0 before-upgrade
  blockgate volume clone disk0 before-upgrade disk1
  blockgate volume delete disk0 --yes`;

const REKEY_NOTES = `
The configuration has the key that opens the volume now. A disk in use goes on; change the configuration before it is
started again.

Example:
  blockgate volume rekey disk0 '{"passphrase":{"file":"/etc/blockgate/new"}}'`;

const CHANGES_NOTES = `
One range in a line, in bytes, in the order of the disk; with --json, an array. Everything that has changed is listed; what the
store has only moved to gather free space may be listed as well.

Example, an incremental backup:
  blockgate volume changes disk0 monday tuesday --json`;

export function volumeCommand(ctx: CommandContext): Command {
  const target = ['<target>', 'a disk of the configuration, or a backend as JSON'] as const;
  const act = async (
    action: VolumeAction,
    options: VolumeOptions & {
      target: string;
      size?: number;
      name?: string;
      to?: string | undefined;
      clone?: string;
      encryption?: unknown;
    },
  ) => {
    const { operateOnVolume } = await import('../volumes.ts');
    ctx.exitCode = await operateOnVolume(action, options, settingsFrom(options, ctx.terminal), ctx.terminal);
  };
  const subcommand = (name: VolumeAction, description: string) =>
    addGatewayOptions(new Command(name).description(description).argument(...target)).option(
      '--json',
      'one JSON object, or an array for list',
    );
  const simple = (name: 'create' | 'info' | 'list', description: string) =>
    subcommand(name, description).action((target: string, options: VolumeOptions) =>
      act(name, { ...options, target }),
    );
  const command = new Command('volume')
    .description('create, look at, check, grow, keep, clone and delete volumes in stores that have them')
    .addHelpText('after', NOTES);
  command.addCommand(simple('create', 'make the volume; fails when there already is one'));
  command.addCommand(simple('info', 'size, use and owner of the volume'));
  command.addCommand(simple('list', 'the volumes of the store'));
  command.addCommand(
    subcommand('resize', 'grow the volume')
      .argument('<size>', 'the new size, e.g. 20GiB', sizeArgument)
      .action((target: string, size: number, options: VolumeOptions) =>
        act('resize', { ...options, target, size }),
      ),
  );
  command.addCommand(
    subcommand('rekey', 'change what opens an encrypted volume; the data stays as it is')
      .argument('<key>', 'as JSON, as "encryption" of the backend has it', jsonArgument)
      .addHelpText('after', REKEY_NOTES)
      .action((target: string, encryption: unknown, options: VolumeOptions) =>
        act('rekey', { ...options, target, encryption }),
      ),
  );
  command.addCommand(
    subcommand('delete', 'delete the volume and its data')
      .option('--yes', 'do not ask')
      .option('--force', 'although somebody owns it')
      .action((target: string, options: VolumeOptions) => act('delete', { ...options, target })),
  );
  command.addCommand(
    subcommand('check', 'verify everything that is stored of the volume')
      .option('--data', 'read all data as well, and compare its checksums')
      .option('--repair', 'delete what nothing needs; the volume must not be open')
      .action((target: string, options: VolumeOptions) => act('check', { ...options, target })),
  );
  command.addCommand(
    subcommand('qualify', 'try whether the store keeps to what volumes need of it').action(
      (target: string, options: VolumeOptions) => act('qualify', { ...options, target }),
    ),
  );
  const named = (action: 'snapshot' | 'rollback' | 'delete-snapshot', description: string) =>
    subcommand(action, description)
      .argument('<name>', 'of the snapshot', snapshotName)
      .action((target: string, name: string, options: VolumeOptions) =>
        act(action, { ...options, target, name }),
      );
  command.addCommand(named('snapshot', 'keep what the volume holds now under a name'));
  command.addCommand(
    subcommand('snapshots', 'the snapshots of the volume').action((target: string, options: VolumeOptions) =>
      act('snapshots', { ...options, target }),
    ),
  );
  command.addCommand(named('rollback', 'make the volume what a snapshot is; what it was is kept'));
  command.addCommand(
    subcommand('clone', 'make a new volume that begins as a snapshot is')
      .argument('<name>', 'of the snapshot', snapshotName)
      .argument('<new>', 'the new volume: a disk of the configuration, or a backend as JSON')
      .action((target: string, name: string, clone: string, options: VolumeOptions) =>
        act('clone', { ...options, target, name, clone }),
      ),
  );
  command.addCommand(
    subcommand('flatten', 'make a clone need its parent, or image, no more').action(
      (target: string, options: VolumeOptions) => act('flatten', { ...options, target }),
    ),
  );
  command.addCommand(
    subcommand('changes', 'which bytes have changed since a snapshot')
      .argument('<from>', 'name of the snapshot', snapshotName)
      .argument('[to]', 'name of a later one; without it: until now', snapshotName)
      .addHelpText('after', CHANGES_NOTES)
      .action((target: string, name: string, to: string | undefined, options: VolumeOptions) =>
        act('changes', { ...options, target, name, to }),
      ),
  );
  command.addCommand(named('delete-snapshot', 'delete a snapshot'));
  addCopyCommands(command, ctx);
  return command;
}
