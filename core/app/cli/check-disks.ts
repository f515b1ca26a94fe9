import { GatewayError } from '../../api/errors.ts';
import type { DiskConfig } from '../../config/config.ts';
import { ConfigErrors } from '../../config/config-errors.ts';
import { inspectConfig } from '../../config/load.ts';
import { createLogger } from '../../observe/logger.ts';
import { PluginRegistry, type PreparedDisk } from '../../plugins/registry.ts';
import { formatSize } from '../../util/size.ts';
import { type DiskInspection, inspectDisk, inspectOpenDisk } from '../disk-inspection.ts';
import { formatCaps } from '../disk-stack.ts';
import { selectDisks } from '../select-disks.ts';
import type { Settings } from '../settings.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { errorToJson } from './error-json.ts';
import { ExitCode, exitCodeOf } from './exit-code.ts';
import { printError } from './print-error.ts';
import { ProgressBar } from './progress-bar.ts';
import type { Terminal } from './terminal.ts';

export interface CheckRequest {
  readonly names: readonly string[];
  readonly open?: boolean;
  readonly json?: boolean;
}

interface CheckScope {
  readonly registry: PluginRegistry;
  readonly settings: Settings;
  readonly baseDir: string;
  readonly open: boolean;
}

interface CheckedDisk {
  readonly disk: DiskConfig;
  readonly inspection?: DiskInspection;
}

/** Reports every mistake rather than the first, and shows the disks that have none. Returns the exit status. */
export async function checkDisks(
  settings: Settings,
  request: CheckRequest,
  terminal: Terminal,
): Promise<number> {
  const { config, problems } = await inspectConfig(settings.configFile, { overrides: settings.overrides });
  const all: unknown[] = [...problems];
  const checked: CheckedDisk[] = [];
  if (config) {
    const registry = await PluginRegistry.load(config);
    using _progress = new ProgressBar(terminal, 'Checking');
    // A file with problems of its own need not have disks that can be selected.
    const disks =
      problems.length > 0 && request.names.length === 0
        ? [...config.disks.values()]
        : selectDisks(config, request.names);
    for (const disk of disks)
      checked.push(
        await checkDisk(
          disk,
          { registry, settings, baseDir: config.baseDir, open: request.open ?? false },
          all,
        ),
      );
    addNew(all, registry.problems);
  }
  if (request.json)
    terminal.printJson({
      file: settings.configFile,
      disks: checked.map(diskToJson),
      problems: all.map(errorToJson),
    });
  else {
    for (const { disk, inspection } of checked)
      if (inspection) terminal.print(tree(disk, inspection, terminal));
    if (all.length > 0) printError(terminal, new AggregateError(all));
    else
      terminal.say(
        `${terminal.tint('green', '✔')} ${settings.configFile}: ${count(checked.length, 'disk')}, no problems`,
      );
  }
  if (all.length === 0) return ExitCode.OK;
  return all.some((error) => exitCodeOf(error) === ExitCode.USAGE) ? ExitCode.USAGE : ExitCode.FAILED;
}

async function checkDisk(
  disk: DiskConfig,
  { registry, settings, baseDir, open }: CheckScope,
  problems: unknown[],
): Promise<CheckedDisk> {
  try {
    const prepared = await registry.prepareDisk(disk);
    return {
      disk,
      inspection: open ? await openForLook(prepared, baseDir, settings) : inspectDisk(prepared),
    };
  } catch (error) {
    if (error instanceof ConfigErrors) addNew(problems, error.errors);
    else if (GatewayError.is(error)) problems.push(error);
    else throw error;
    return { disk };
  }
}

/** What is wrong with a plugin is wrong with every disk that uses it, and said once. */
function addNew(problems: unknown[], found: readonly unknown[]): void {
  problems.push(...found.filter((problem) => !problems.includes(problem)));
}

async function openForLook(disk: PreparedDisk, baseDir: string, settings: Settings): Promise<DiskInspection> {
  await using state = await temporaryFolder();
  const { logLevel, logFormat, writeLog, graceMs } = settings;
  const logger = createLogger({ level: logLevel, format: logFormat, write: writeLog });
  return await inspectOpenDisk(disk, { logger, baseDir, stateDir: state.path, graceMs, takeOver: false });
}

/**
 * disk0  10 GiB  opened for reading: read, write, flush
 * ├─ vduse      frontend
 * ├─ readonly   added: the disk is configured read-only
 * └─ file       backend
 */
function tree(disk: DiskConfig, { stack, size, caps }: DiskInspection, terminal: Terminal): string {
  const title = [
    terminal.style('bold', disk.name),
    ...(size ? [formatSize(size)] : []),
    ...(caps ? [`opened for reading: ${formatCaps(caps)}`] : []),
  ];
  const width = Math.max(...stack.map((layer) => layer.name.length));
  const lines = stack.map((layer, index) => {
    const branch = index === stack.length - 1 ? '└─' : '├─';
    const note = layer.kind === 'automatic' ? `added: ${layer.reason}` : layer.kind;
    return `${branch} ${layer.name.padEnd(width)}  ${terminal.style('dim', note)}`;
  });
  return [title.join('  '), ...lines].join('\n');
}

function diskToJson({ disk, inspection }: CheckedDisk): Readonly<Record<string, unknown>> {
  return { name: disk.name, readOnly: disk.readOnly, valid: inspection !== undefined, ...inspection };
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}
