import type { StandardSchemaV1 } from '@standard-schema/spec';
import { GatewayError } from '../api/errors.ts';
import { didYouMean } from '../util/did-you-mean.ts';
import type { Locator } from './config.ts';
import { type JsonSchema, keysAt } from './json-shape.ts';
import { type Path, toPointer } from './pointer.ts';

/** What a validator found, in the words of the person who wrote the value. */
export interface IssueContext {
  /** What was validated, in the middle of a sentence: `backend "s3" of disk "disk0"`. */
  readonly subject: (path: Path) => string;
  /** Pointer of the value that was validated. */
  readonly pointer: string;
  readonly locator: Locator;
  readonly value: unknown;
  readonly schema: JsonSchema | undefined;
}

/** The parts of zod's issues that say more than Standard Schema's; another validator's simply lack them. */
interface ZodIssue extends StandardSchemaV1.Issue {
  readonly code?: string;
  /** `unrecognized_keys` */
  readonly keys?: readonly string[];
  /** `invalid_union`: the issues of each branch, with paths from the union. */
  readonly errors?: readonly (readonly ZodIssue[])[];
  /** `invalid_key` of a record */
  readonly issues?: readonly ZodIssue[];
}

export function errorsOfIssue(issue: StandardSchemaV1.Issue, context: IssueContext): GatewayError[] {
  return flatten(issue).flatMap((flat) => {
    const path = pathOf(flat);
    if (flat.keys) return flat.keys.map((key) => unknownKey(key, path, context));
    const value = valueAt(context.value, path);
    return [
      value === undefined && path.length > 0 ? missing(path, context) : wrongValue(flat, path, context),
    ];
  });
}

export function pathOf(issue: StandardSchemaV1.Issue): (string | number)[] {
  return (issue.path ?? []).map((segment) => {
    const key = typeof segment === 'object' ? segment.key : segment;
    return typeof key === 'number' ? key : String(key);
  });
}

/** A union's issue says only "invalid"; where all but one branch have another type, that branch's issues say more. */
function flatten(issue: ZodIssue): ZodIssue[] {
  if (issue.code !== 'invalid_union' || issue.message !== 'Invalid input') return [issue];
  const sameType = (issue.errors ?? []).filter((branch) => branch.every(({ path = [] }) => path.length > 0));
  if (sameType.length === 1) {
    return sameType[0]!.flatMap((inner) =>
      flatten({ ...inner, path: [...(issue.path ?? []), ...(inner.path ?? [])] }),
    );
  }
  const reasons = (issue.errors ?? []).flat().map((inner) => sentence(inner.message));
  return [{ ...issue, message: [...new Set(reasons)].join(' Or: ') }];
}

function unknownKey(
  key: string,
  path: Path,
  { schema, pointer, locator, subject }: IssueContext,
): GatewayError {
  const known = keysAt(schema, path).sort();
  const near = didYouMean(key, known);
  return new GatewayError('config.unknown-key', `Unknown key ${JSON.stringify(key)} in ${subject(path)}.`, {
    where: locator.locate(pointer + toPointer([...path, key]), 'key'),
    ...(known.length > 0 ? { why: `Known here: ${known.join(', ')}.` } : {}),
    fix: near === undefined ? 'Remove it.' : `Did you mean ${JSON.stringify(near)}?`,
  });
}

function missing(path: Path, { pointer, locator, subject }: IssueContext): GatewayError {
  const key = path.at(-1)!;
  const parent = path.slice(0, -1);
  return new GatewayError('config.missing-key', `${JSON.stringify(key)} is missing in ${subject(parent)}.`, {
    where: locator.locate(pointer + toPointer(path)),
    why: 'It has no default.',
    fix: `Add ${JSON.stringify(key)}.`,
  });
}

function wrongValue(issue: ZodIssue, path: Path, { pointer, locator, subject }: IssueContext): GatewayError {
  const name = path.findLast((segment) => typeof segment === 'string');
  const badKey = issue.code === 'invalid_key';
  const parent = path.slice(0, path.lastIndexOf(name ?? ''));
  const summary =
    name === undefined
      ? `Wrong value for ${subject(path)}.`
      : `${badKey ? 'Wrong name' : 'Wrong value for'} ${JSON.stringify(name)} in ${subject(parent)}.`;
  return new GatewayError('config.invalid', summary, {
    where: locator.locate(pointer + toPointer(path), badKey ? 'key' : 'value'),
    why: sentence((badKey && issue.issues?.[0]?.message) || issue.message),
  });
}

/** zod's "Invalid input: expected string, received number" as a sentence. */
function sentence(message: string): string {
  const text = message.replace(/^Invalid (?:input|option): /, '');
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (inner, segment) =>
      typeof inner === 'object' && inner !== null
        ? (inner as Record<string | number, unknown>)[segment]
        : undefined,
    value,
  );
}
