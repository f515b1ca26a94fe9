import type { ErrorLocation } from '../api/errors.ts';
import { GatewayError } from '../api/errors.ts';
import { didYouMean } from '../util/did-you-mean.ts';
import type { Locator } from './config.ts';
import { toPointer } from './pointer.ts';

const TOP_LEVEL = ['version', 'plugins', 'disks'];

/** One `--set path=value`. */
interface Override {
  /** `--set disks.disk0.readOnly`: without the value, which may be a secret. */
  readonly name: string;
  readonly path: readonly string[];
  readonly value: unknown;
}

/**
 * Applies `--set` overrides to a parsed document, in order and in place. Returns the locator of the result: what an
 * override gave is located at the override.
 */
export function applyOverrides(
  document: Record<string, unknown>,
  overrides: readonly string[],
  locator: Locator,
  problems: GatewayError[],
): Locator {
  const applied = new Map<string, string>();
  for (const text of overrides) {
    const override = parseOverride(text);
    const problem = override instanceof GatewayError ? override : apply(document, override);
    if (problem) problems.push(problem);
    else if (!(override instanceof GatewayError)) applied.set(toPointer(override.path), override.name);
  }
  return { locate: (pointer, part) => overridden(pointer, applied) ?? locator.locate(pointer, part) };
}

function overridden(pointer: string, applied: ReadonlyMap<string, string>): ErrorLocation | undefined {
  for (const [prefix, name] of applied) {
    if (pointer === prefix || pointer.startsWith(`${prefix}/`)) return { file: name, pointer };
  }
  return undefined;
}

function parseOverride(text: string): Override | GatewayError {
  const equals = text.indexOf('=');
  const path = text.slice(0, equals).split('.');
  if (equals < 1 || path.includes('')) {
    // Without "=" the whole text may be a value that slipped: do not repeat it.
    return new GatewayError('config.bad-override', 'A --set is not of the form path=value.', {
      why: 'The path is dotted, and "=" stands between it and the value.',
      fix: 'Write for example --set disks.disk0.readOnly=true.',
    });
  }
  const raw = text.slice(equals + 1);
  return { name: `--set ${path.join('.')}`, path, value: parseValue(raw) };
}

/** `true`, `5`, `{"env":"X"}` mean what they mean in JSON; anything else is a string. */
function parseValue(raw: string): unknown {
  try {
    return JSON.parse(raw) as unknown;
  } catch {
    return raw;
  }
}

/** Disks and list entries must exist; below them a missing object is made, and the schema judges its keys. */
function apply(document: Record<string, unknown>, { name, path, value }: Override): GatewayError | undefined {
  let target: unknown = document;
  for (const [depth, segment] of path.entries()) {
    const at = path.slice(0, depth).join('.');
    if (typeof target !== 'object' || target === null) {
      return badPath(name, `${JSON.stringify(at)} is not an object.`, `Set ${JSON.stringify(at)} itself.`);
    }
    const object = target as Record<string, unknown>;
    const exists = Object.hasOwn(object, segment);
    const last = depth === path.length - 1;
    if (!exists && (Array.isArray(object) || mustExist(path, depth))) {
      const known = depth === 0 ? TOP_LEVEL : Object.keys(object);
      const why = `There is no ${JSON.stringify(segment)} in ${at || 'the configuration'}.`;
      return badPath(name, why, suggestion(segment, known));
    }
    if (last) define(object, segment, value);
    else if (!exists) define(object, segment, Object.create(null));
    target = object[segment];
  }
  return undefined;
}

function mustExist(path: readonly string[], depth: number): boolean {
  if (depth === 0) return !TOP_LEVEL.includes(path[0]!);
  return depth === 1 && path[0] === 'disks';
}

/** Assigns a property of any name, `__proto__` included, as the object's own. */
function define(object: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}

function suggestion(word: string, known: readonly string[]): string {
  const near = didYouMean(word, known);
  if (near !== undefined) return `Did you mean ${JSON.stringify(near)}?`;
  return known.length > 0 ? `Known there: ${known.join(', ')}.` : 'Add it to the file.';
}

function badPath(name: string, why: string, fix: string): GatewayError {
  return new GatewayError('config.bad-override', `${name} does not lead to a value that can be set.`, {
    why,
    fix,
  });
}
