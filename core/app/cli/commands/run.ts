import { Command, Option } from 'commander';
import type { User } from '../../../system/user.ts';
import type { ServiceManager } from '../../systemd.ts';
import type { CommandContext } from '../command-context.ts';
import { addGatewayOptions, type GatewayOptions, seconds, settingsFrom } from '../gateway-options.ts';

export interface RunOptions extends GatewayOptions {
  readonly keepGoing?: boolean;
  readonly takeOver?: boolean;
  readonly force?: boolean;
  readonly grace: number;
  readonly inProcess?: boolean;
  readonly user?: string;
  readonly json?: boolean;
}

const NOTES = `
A line per disk appears on standard output when it can be used. SIGINT (Ctrl-C) and SIGTERM stop the disks, unless
somebody uses one: then blockgate says who, and goes on. A second signal within 10 seconds takes the disks away all
the same; what was not written yet is lost to those who use them.

With "-- command" the disks are stopped when the command ends, and its exit status is the result. The command finds
the path of the first disk in $BLOCKGATE_DEVICE and those of all in $BLOCKGATE_DEVICES, separated by spaces. Disks it
leaves mounted are waited for until the grace period is over, and then taken away.

Examples:
  blockgate run
  blockgate run -c /etc/blockgate/plugins.json disk0 disk1
  blockgate run scratch --set disks.scratch.backend.size=1GiB -- sh -c 'mkfs.xfs $BLOCKGATE_DEVICE'`;

export function runCommand(ctx: CommandContext): Command {
  const command = new Command('run')
    .description('start disks and serve them until a signal, or until the command after "--" ends')
    .argument('[disks...]', 'disks of the configuration; all when none is named')
    .option('--keep-going', 'serve the disks that start, although others do not')
    .option('--take-over', 'take volumes over from an owner that is gone')
    .option('--force', 'on stopping, take disks away from whoever uses them')
    .option('--grace <seconds>', 'how long stopping may take before stores are given up', seconds, 30)
    .option('--in-process', 'run the disks in one process, to debug them')
    .addOption(
      new Option('--user <name>', 'serve the disks as this user; only helpers stay root').conflicts(
        'inProcess',
      ),
    )
    .option('--json', 'one JSON object a line for each event')
    .addHelpText('after', NOTES);
  return addGatewayOptions(command).action(async (names: string[], options: RunOptions) => {
    const { runDisks } = await import('../run-disks.ts');
    const manager = await serviceManager(process.env);
    const user = options.user === undefined ? undefined : await servingUser(options.user);
    const settings = { ...settingsFrom(options, ctx.terminal), user, hangMs: manager?.watchdogMs };
    const request = { ...options, names, captive: ctx.captive, manager };
    ctx.exitCode = await runDisks(settings, request, ctx.terminal);
  });
}

/** Loaded where there is one only: few gateways are services. */
async function serviceManager(env: NodeJS.ProcessEnv): Promise<ServiceManager | undefined> {
  if (env['NOTIFY_SOCKET'] === undefined) return undefined;
  return (await import('../../systemd.ts')).ServiceManager.of(env);
}

async function servingUser(name: string): Promise<User> {
  const [{ servingUser }, { checkAccess }] = await Promise.all([
    import('../../serving-user.ts'),
    import('../../user-access.ts'),
  ]);
  const user = servingUser(name);
  await checkAccess(user);
  return user;
}
