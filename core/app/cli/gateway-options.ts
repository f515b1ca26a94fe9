import { type Command, InvalidArgumentError, Option } from 'commander';
import { LOG_LEVELS, type LogLevel } from '../../observe/log-level.ts';
import { parseSize } from '../../util/size.ts';
import { DEFAULT_GRACE_MS, defaultStateDir, type Settings } from '../settings.ts';
import type { Terminal } from './terminal.ts';

/** Options of every command that reads plugins.json, as commander hands them over. */
export interface GatewayOptions {
  readonly config: string;
  readonly set?: readonly string[];
  readonly stateDir: string;
  readonly logLevel: LogLevel;
}

export function addGatewayOptions(command: Command): Command {
  const withConfig = command
    .option('-c, --config <file>', 'the configuration', 'plugins.json')
    .option(
      '--set <path=value>',
      'override one value, e.g. disks.disk0.readOnly=true; repeatable',
      collect,
      [],
    );
  return addStateDirOption(withConfig).addOption(
    new Option('--log-level <level>', 'what to log on standard error').choices(LOG_LEVELS).default('warn'),
  );
}

/** For commands that talk to gateways rather than be one. */
export function addStateDirOption(command: Command): Command {
  return command.addOption(
    new Option('--state-dir <folder>', 'what has to survive a restart').default(
      defaultStateDir(),
      '/var/lib/blockgate for root, else ~/.local/state/blockgate',
    ),
  );
}

export function settingsFrom(
  options: GatewayOptions & { readonly grace?: number; readonly inProcess?: boolean },
  terminal: Terminal,
): Settings {
  return {
    configFile: options.config,
    overrides: options.set ?? [],
    stateDir: options.stateDir,
    logLevel: options.logLevel,
    // For a person, text; for journald and collectors, one JSON object a line.
    logFormat: terminal.isInteractive ? 'text' : 'json',
    writeLog: (line) => terminal.writeRaw(line),
    graceMs: options.grace === undefined ? DEFAULT_GRACE_MS : options.grace * 1000,
    inProcess: options.inProcess ?? false,
  };
}

/** For commander: a number of seconds, fractions allowed. */
export function seconds(value: string): number {
  const number = Number(value);
  if (value.trim() === '' || !Number.isFinite(number) || number < 0 || number > 86_400) {
    throw new InvalidArgumentError('It has to be a number of seconds from 0 to 86400.');
  }
  return number;
}

/** For commander: bytes. */
export function sizeArgument(value: string): number {
  const bytes = parseSize(value);
  if (bytes === undefined) throw new InvalidArgumentError('It has to be a size such as 20GiB.');
  return bytes;
}

/** For commander: JSON. */
export function jsonArgument(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    throw new InvalidArgumentError('It has to be JSON.');
  }
}

/** For commander: an option that may be given several times. */
export function collect(value: string, earlier: readonly string[] = []): readonly string[] {
  return [...earlier, value];
}
