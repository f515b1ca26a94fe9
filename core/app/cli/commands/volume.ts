import { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import {
  addGatewayOptions,
  type GatewayOptions,
  jsonArgument,
  settingsFrom,
  sizeArgument,
} from '../gateway-options.ts';
import { momentArgument } from '../moment.ts';
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
  blockgate volume rollback disk0 --at "2h ago"
  blockgate volume delete disk0 --yes`;

const REKEY_NOTES = `
The configuration has the key that opens the volume now. A disk in use goes on; change the configuration before it is
started again.

Example:
  blockgate volume rekey disk0 '{"passphrase":{"file":"/etc/blockgate/new"}}'`;

const AT = ['--at <time>', 'as the volume was at that time, e.g. "2h ago"; instead of the snapshot'] as const;

const AT_NOTES = `
"blockgate volume points" lists the times that are kept; the newest that is not after the one given is taken.`;

const CHANGES_NOTES = `
One range in a line, in bytes, in the order of the disk; with --json, an array. Everything that has changed is listed; what the
store has only moved to gather free space may be listed as well.

Example, an incremental backup:
  blockgate volume changes disk0 monday tuesday --json`;

interface AtOptions extends VolumeOptions {
  readonly at?: Date;
}

type CloneArguments = [
  first: string | undefined,
  second: string | undefined,
  options: AtOptions,
  self: Command,
];

/** The first of the arguments, which may also be the new volume: only its use says what it has to be. */
function nameIn(value: string, command: Command): string {
  try {
    return snapshotName(value);
  } catch (error) {
    return command.error(`error: "${value}" is no name of a snapshot. ${(error as Error).message}`);
  }
}

export function volumeCommand(ctx: CommandContext): Command {
  const target = ['<target>', 'a disk of the configuration, or a backend as JSON'] as const;
  const act = async (
    action: VolumeAction,
    options: VolumeOptions & {
      target: string;
      size?: number;
      name?: string;
      to?: string | undefined;
      at?: Date;
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
  command.addCommand(
    subcommand('snapshot', 'keep what the volume holds now under a name')
      .argument('<name>', 'of the snapshot', snapshotName)
      .option('--at <time>', 'what the volume was at that time, and not now, e.g. "2h ago"', momentArgument)
      .addHelpText('after', AT_NOTES)
      .action((target: string, name: string, options: AtOptions) =>
        act('snapshot', { ...options, target, name }),
      ),
  );
  command.addCommand(
    subcommand('snapshots', 'the snapshots of the volume').action((target: string, options: VolumeOptions) =>
      act('snapshots', { ...options, target }),
    ),
  );
  command.addCommand(
    subcommand('points', 'the times as of which the volume can be gone back to').action(
      (target: string, options: VolumeOptions) => act('points', { ...options, target }),
    ),
  );
  command.addCommand(
    subcommand('rollback', 'make the volume what a snapshot is; what it was is kept')
      .argument('[name]', 'of the snapshot', snapshotName)
      .option(...AT, momentArgument)
      .addHelpText('after', AT_NOTES)
      .action((target: string, name: string | undefined, options: AtOptions, self: Command) => {
        if ((name === undefined) === (options.at === undefined))
          self.error('error: either the name of a snapshot or --at is needed');
        return act('rollback', { ...options, target, ...(name !== undefined && { name }) });
      }),
  );
  command.addCommand(
    subcommand('clone', 'make a new volume that begins as a snapshot is')
      .argument('[name]', 'of the snapshot; left out with --at')
      .argument('[new]', 'the new volume: a disk of the configuration, or a backend as JSON')
      .option(...AT, momentArgument)
      .addHelpText('after', AT_NOTES)
      .action((target: string, ...rest: CloneArguments) => {
        const [first, second, options, self] = rest;
        const given = [first, second].filter((value) => value !== undefined);
        if (given.length !== (options.at === undefined ? 2 : 1))
          self.error('error: either the name of a snapshot or --at is needed, and then the new volume');
        const clone = given.at(-1)!;
        return act('clone', {
          ...options,
          target,
          clone,
          ...(options.at === undefined && { name: nameIn(first!, self) }),
        });
      }),
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
  command.addCommand(
    subcommand('delete-snapshot', 'delete a snapshot')
      .argument('<name>', 'of the snapshot', snapshotName)
      .action((target: string, name: string, options: VolumeOptions) =>
        act('delete-snapshot', { ...options, target, name }),
      ),
  );
  addCopyCommands(command, ctx);
  return command;
}
