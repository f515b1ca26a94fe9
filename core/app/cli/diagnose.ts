import { existsSync } from 'node:fs';
import type { Finding } from '../../api/backend.ts';
import { GatewayError } from '../../api/errors.ts';
import type { DiskConfig } from '../../config/config.ts';
import { inspectConfig } from '../../config/load.ts';
import { createLogger } from '../../observe/logger.ts';
import { PluginRegistry } from '../../plugins/registry.ts';
import { renderLocation } from '../../util/render-error.ts';
import { pluginContext } from '../disk-runner.ts';
import { sentence } from '../failures.ts';
import { checkMachine } from '../machine-check.ts';
import type { Settings } from '../settings.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { type Diagnosis, printFindings, statusOf } from './findings.ts';
import { ProgressBar } from './progress-bar.ts';
import type { Terminal } from './terminal.ts';

/** Looks at the machine and at the stores, and prints each finding with its fix. Returns the exit status. */
export async function diagnose(
  settings: Settings,
  { json = false }: { readonly json?: boolean },
  terminal: Terminal,
): Promise<number> {
  const findings: Diagnosis[] = [];
  {
    using _progress = new ProgressBar(terminal, 'Looking');
    const about = (subject: string, found: readonly Finding[]) =>
      findings.push(...found.map((finding) => ({ subject, ...finding })));
    about('machine', await checkMachine(settings.stateDir));
    about('vduse', await checkVduse());
    if (existsSync(settings.configFile)) await checkConfiguration(settings, about);
  }
  if (json) terminal.printJson({ findings });
  else printFindings(findings, terminal);
  return statusOf(findings);
}

async function checkVduse(): Promise<readonly Finding[]> {
  const vduse = await PluginRegistry.builtIn().find('frontend', 'vduse');
  return (await (await vduse?.load())?.check?.(undefined)) ?? [];
}

async function checkConfiguration(
  settings: Settings,
  about: (subject: string, found: readonly Finding[]) => void,
): Promise<void> {
  const { config, problems } = await inspectConfig(settings.configFile, { overrides: settings.overrides });
  about(settings.configFile, problems.map(toFinding));
  if (!config) return;
  const registry = await PluginRegistry.load(config);
  for (const disk of config.disks.values())
    about(disk.name, await checkStore(disk, config.baseDir, registry, settings));
  about(settings.configFile, registry.problems.map(toFinding));
}

async function checkStore(
  disk: DiskConfig,
  baseDir: string,
  registry: PluginRegistry,
  settings: Settings,
): Promise<readonly Finding[]> {
  try {
    const prepared = await registry.prepareDisk(disk);
    await using state = await temporaryFolder();
    const { plugin, config } = prepared.backend;
    if (!plugin.check) return [];
    const { logLevel: level, logFormat: format, writeLog: write } = settings;
    const logger = createLogger({ level, format, write });
    const options = { ...settings, logger, baseDir, stateDir: state.path, takeOver: false };
    const ctx = await pluginContext(prepared, options, new AbortController().signal);
    return await plugin.check(config, ctx);
  } catch (error) {
    const errors: unknown[] = error instanceof AggregateError ? error.errors : [error];
    return errors.map(toFinding);
  }
}

function toFinding(error: unknown): Finding {
  if (!GatewayError.is(error)) return { severity: 'error', summary: sentence(error) };
  const where = error.where ? ` (${renderLocation(error.where)})` : '';
  const fix = error.fix === undefined ? {} : { fix: error.fix };
  const why = error.why === undefined ? '' : ` ${error.why}`;
  return { severity: 'error', summary: `${error.message}${where}${why}`, ...fix };
}
