import { resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import type { BackendPlugin, PluginContext, VolumeInfo, VolumeOperations } from '../../api/backend.ts';
import { GatewayError } from '../../api/errors.ts';
import { loadConfig, parseBackendArgument } from '../../config/load.ts';
import { createLogger } from '../../observe/logger.ts';
import { PluginRegistry, type Prepared } from '../../plugins/registry.ts';
import { formatSize } from '../../util/size.ts';
import { unknownDisk } from '../select-disks.ts';
import type { Settings } from '../settings.ts';
import { onTermination } from '../signals.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { checkVolume } from './check-volume.ts';
import { ExitCode, Interrupted } from './exit-code.ts';
import { printFindings, statusOf } from './findings.ts';
import { installedPlugins } from './installed-plugins.ts';
import { printVolume } from './print-volume.ts';
import { ProgressBar } from './progress-bar.ts';
import { operateOnSnapshots, type SnapshotAction } from './snapshots.ts';
import { table } from './table.ts';
import type { Terminal } from './terminal.ts';

export type VolumeAction =
  | 'create'
  | 'info'
  | 'list'
  | 'resize'
  | 'rekey'
  | 'delete'
  | 'check'
  | 'qualify'
  | SnapshotAction;

export interface VolumeRequest {
  /** A disk's name, or a backend as JSON. */
  readonly target: string;
  /** For `resize`: bytes. */
  readonly size?: number;
  /** Of a snapshot. */
  readonly name?: string;
  /** Instead of the name of a snapshot, or for `snapshot` of what the volume is now. */
  readonly at?: Date;
  /** For `changes`: another snapshot. */
  readonly to?: string | undefined;
  /** For `clone`: as `target`. */
  readonly clone?: string;
  /** For `rekey`: the new key, as the backend has it in its configuration. */
  readonly encryption?: unknown;
  readonly json?: boolean;
  /** Do not ask before deleting. */
  readonly yes?: boolean;
  readonly force?: boolean;
  /** For `check`: read all data as well. */
  readonly data?: boolean;
  /** For `check`. */
  readonly repair?: boolean;
}

interface Target {
  /** How to call it in messages. */
  readonly label: string;
  readonly baseDir: string;
  readonly backend: Prepared<BackendPlugin>;
}

/** Runs one operation of the target's backend and prints what it returns. Returns the exit status. */
export async function operateOnVolume(
  action: VolumeAction,
  request: VolumeRequest,
  settings: Settings,
  terminal: Terminal,
): Promise<number> {
  const target = await findTarget(request.target, settings);
  const volumes = operationsOf(target);
  if (action === 'delete' && !request.yes) await confirmDeletion(target.label, terminal);
  const giveUp = new AbortController();
  using _signals = onTermination((signal) => giveUp.abort(new Interrupted(signal)));
  await using state = await temporaryFolder();
  const ctx: PluginContext = {
    disk: target.label.startsWith('{') ? 'volume' : target.label,
    logger: createLogger({ level: settings.logLevel, format: settings.logFormat, write: settings.writeLog }),
    signal: giveUp.signal,
    stateDir: state.path,
    baseDir: target.baseDir,
  };
  try {
    const clone = request.clone === undefined ? undefined : await findTarget(request.clone, settings);
    if (clone !== undefined && clone.backend.plugin.name !== target.backend.plugin.name)
      throw cloneElsewhere(target, clone);
    const operation = { volumes, config: target.backend.config, clone: clone?.backend.config, ctx };
    if (action === 'check') return await checkVolume(operation, request, terminal);
    if (action === 'qualify') return await qualify(operation, request, terminal);
    await operate(action, operation, request, terminal);
  } catch (error) {
    throw giveUp.signal.aborted ? giveUp.signal.reason : error;
  }
  return ExitCode.OK;
}

export interface VolumeOperation {
  readonly volumes: VolumeOperations<unknown>;
  readonly config: unknown;
  /** Of the volume that is to be made. */
  readonly clone: unknown;
  readonly ctx: PluginContext;
}

async function operate(
  action: Exclude<VolumeAction, 'check' | 'qualify'>,
  operation: VolumeOperation,
  request: VolumeRequest,
  terminal: Terminal,
): Promise<void> {
  const { volumes, config, ctx } = operation;
  using progress = new ProgressBar(terminal, `volume ${action}`, { unit: 'count' });
  switch (action) {
    case 'create':
      return printVolume(await volumes.create(config, ctx), request, terminal);
    case 'info':
      return printVolume(await volumes.info(config, ctx), request, terminal);
    case 'list':
      return printVolumes(await volumes.list(config, ctx), request, terminal);
    case 'resize':
      return printVolume(await volumes.resize(config, request.size!, ctx), request, terminal);
    case 'rekey':
      return await rekey(operation, request, terminal);
    case 'delete': {
      const force = request.force ?? false;
      await volumes.delete(config, { force, progress: (done, total) => progress.update(done, total) }, ctx);
      if (request.json) terminal.printJson({ deleted: request.target });
      else terminal.say(`${request.target}: deleted`);
      return;
    }
    default:
      return await operateOnSnapshots(action, operation, request, terminal);
  }
}

async function rekey(
  { volumes, config, ctx }: VolumeOperation,
  request: VolumeRequest,
  terminal: Terminal,
): Promise<void> {
  if (volumes.rekey === undefined) {
    throw new GatewayError('volume.unsupported', `The backend of ${request.target} has no keys.`, {
      why: 'It does not encrypt.',
    });
  }
  printVolume(await volumes.rekey(config, request.encryption, ctx), request, terminal);
}

async function qualify(
  { volumes, config, ctx }: VolumeOperation,
  { target, json }: VolumeRequest,
  terminal: Terminal,
): Promise<number> {
  if (volumes.qualify === undefined) {
    throw new GatewayError('volume.unsupported', `The backend of ${target} has nothing to qualify.`, {
      why: 'It needs nothing of its store that not every such store does.',
    });
  }
  const found = await (async () => {
    using _progress = new ProgressBar(terminal, 'Trying');
    return await volumes.qualify!(config, ctx);
  })();
  const findings = found.map((finding) => ({ subject: ctx.disk, ...finding }));
  if (json) terminal.printJson({ findings });
  else printFindings(findings, terminal);
  return statusOf(findings);
}

async function findTarget(name: string, settings: Settings): Promise<Target> {
  if (name.trimStart().startsWith('{')) {
    const registry = await installedPlugins(settings);
    const backend = await registry.prepareBackend(parseBackendArgument(name));
    return { label: name, baseDir: resolve('.'), backend };
  }
  const config = await loadConfig(settings.configFile, { overrides: settings.overrides });
  const disk = config.disks.get(name);
  if (!disk) throw unknownDisk(config, name);
  const registry = await PluginRegistry.load(config);
  return { label: name, baseDir: config.baseDir, backend: await registry.prepareBackend(disk.backend) };
}

function operationsOf({ label, backend }: Target): VolumeOperations<unknown> {
  const { name, volumes } = backend.plugin;
  if (volumes) return volumes;
  throw new GatewayError('volume.unsupported', `Backend "${name}" of ${label} has no volumes to work on.`, {
    why: 'What it stores is made when a disk is started, or by other means.',
  });
}

async function confirmDeletion(label: string, terminal: Terminal): Promise<void> {
  if (!process.stdin.isTTY || !terminal.isInteractive) {
    throw new GatewayError('cli.not-confirmed', `Deleting the volume of ${label} has to be confirmed.`, {
      why: 'There is no terminal to ask on.',
      fix: 'Add --yes if it is meant to go.',
    });
  }
  using prompt = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await prompt.question(`Delete the volume of ${label} and all its data? Type yes: `);
  if (answer.trim() !== 'yes') {
    throw new GatewayError('cli.not-confirmed', `The volume of ${label} was not deleted.`, {
      why: 'The answer was not "yes".',
    });
  }
}

function printVolumes(volumes: readonly VolumeInfo[], { json }: VolumeRequest, terminal: Terminal): void {
  if (json) {
    terminal.printJson(volumes);
    return;
  }
  const rows = volumes.map(({ name, size, used, owner }) => {
    return [name, formatSize(size), used === undefined ? '' : formatSize(used), owner ?? ''];
  });
  terminal.print(table(['NAME', 'SIZE', 'USED', 'OWNER'], rows));
}

function cloneElsewhere(from: Target, to: Target): GatewayError {
  return new GatewayError('volume.unsupported', `${to.label} cannot be a clone of ${from.label}.`, {
    why: `One is of the backend "${to.backend.plugin.name}", the other of "${from.backend.plugin.name}".`,
    fix: 'A clone lies in the same store as its parent.',
  });
}
