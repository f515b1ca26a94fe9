import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { type ErrorLocation, GatewayError } from '../api/errors.ts';
import { providePluginApi } from './plugin-api.ts';

type ImportModule = (url: string) => Promise<unknown>;

export interface ImportOptions {
  /** Milliseconds; a module that has not finished by then never will. Default 10 000. */
  readonly timeoutMs?: number;
  /** For tests, whose runner has an `import()` of its own. */
  readonly importModule?: ImportModule;
}

/**
 * Imports the module of a plugin: its code runs from here on. `subject` names it in messages. Throws
 * `plugin.import-failed`, `plugin.missing-dependency`, `plugin.import-timeout` or `plugin.typescript-in-node-modules`.
 */
export async function importPlugin(
  file: string,
  subject: string,
  where: ErrorLocation,
  { timeoutMs = 10_000, importModule = nativeImport }: ImportOptions = {},
): Promise<unknown> {
  if (!existsSync(file)) {
    throw new GatewayError('plugin.import-failed', `The ${subject} cannot be loaded.`, {
      where,
      why: `Its module does not exist: ${file}`,
      fix: 'If the plugin has to be built, build it; otherwise correct "entry" in its manifest.',
    });
  }
  providePluginApi();
  const { promise: timeout, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(timedOut(subject, file, timeoutMs, where)), timeoutMs);
  try {
    return await Promise.race([importModule(pathToFileURL(file).href), timeout]);
  } catch (cause) {
    throw GatewayError.is(cause) ? cause : importFailure(cause, subject, file, where);
  } finally {
    clearTimeout(timer);
  }
}

function nativeImport(url: string): Promise<unknown> {
  return import(url);
}

function timedOut(subject: string, file: string, timeoutMs: number, where: ErrorLocation): GatewayError {
  return new GatewayError(
    'plugin.import-timeout',
    `The ${subject} did not load within ${timeoutMs / 1000} s.`,
    {
      where,
      why: `The import of ${file} has not settled: a top-level await that waits for ever?`,
      fix: 'Do slow work in open(), where it can be cancelled, not while the module loads.',
    },
  );
}

function importFailure(cause: unknown, subject: string, file: string, where: ErrorLocation): GatewayError {
  const { code, message }: NodeJS.ErrnoException = cause instanceof Error ? cause : new Error(String(cause));
  if (code === 'ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING') {
    return new GatewayError(
      'plugin.typescript-in-node-modules',
      `The ${subject} is TypeScript, which Node does not run from node_modules.`,
      {
        where,
        why: `Node strips types from your own files only: ${file}`,
        fix: 'Publish the plugin as JavaScript; while developing, name its folder in "plugins" instead of installing it.',
        cause,
      },
    );
  }
  const dependency = missingPackage(code, message);
  if (dependency !== undefined) {
    return new GatewayError(
      'plugin.missing-dependency',
      `The ${subject} needs ${dependency}, which is not installed.`,
      {
        where,
        why: `Imported from ${file} or from a module that it imports.`,
        fix: `Run "npm install" in the folder of the plugin, or "npm install ${dependency}" there.`,
        cause,
      },
    );
  }
  return new GatewayError('plugin.import-failed', `The ${subject} cannot be loaded.`, {
    where,
    why: `Its module failed while it was imported: ${message.split('\n')[0]}${thrownAt(cause)}`,
    fix: importFix(code, file),
    cause,
  });
}

function importFix(code: string | undefined, file: string): string {
  if (code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX') {
    return 'Use only syntax that can be erased: no enums, namespaces, parameter properties or decorators.';
  }
  if (file.includes('/node_modules/')) return 'Install another release of the plugin, or tell its author.';
  return `Correct ${file}.`;
}

/** Where an error was thrown, on a line of its own; empty when the stack begins inside Node. */
function thrownAt(error: unknown): string {
  const frame =
    error instanceof Error ? error.stack?.split('\n').find((line) => line.startsWith('    at ')) : '';
  const place = /(?:file:\/\/|\(|at )(\/[^\s)]+:\d+:\d+)/.exec(frame ?? '')?.[1];
  return place === undefined ? '' : `\nat ${place}`;
}

/** The package that an ES module (first form) or a CommonJS module (second form) asked for in vain. */
function missingPackage(code: string | undefined, message: string): string | undefined {
  if (code === 'ERR_MODULE_NOT_FOUND') return /^Cannot find package '([^']+)'/.exec(message)?.[1];
  if (code === 'MODULE_NOT_FOUND') return /^Cannot find module '([^'./][^']*)'/.exec(message)?.[1];
  return undefined;
}
