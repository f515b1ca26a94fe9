import type { StandardSchemaV1 } from '@standard-schema/spec';
import { GatewayError } from '../api/errors.ts';
import { didYouMean } from '../util/did-you-mean.ts';
import type { Locator } from './config.ts';
import { adviceFor, exampleAt, type JsonSchema, keysAt } from './json-shape.ts';
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
  /** Takes secrets out of what the validator says. */
  readonly redact: (text: string) => string;
}

/** The parts of zod's issues that say more than Standard Schema's; another validator's simply lack them. */
interface ZodIssue extends StandardSchemaV1.Issue {
  readonly code?: string;
  /** `invalid_type`: the type */
  readonly expected?: string;
  /** `unrecognized_keys` */
  readonly keys?: readonly string[];
  /** `invalid_union`: the issues of each branch, with paths from the union. */
  readonly errors?: readonly (readonly ZodIssue[])[];
  /** `invalid_key` of a record */
  readonly issues?: readonly ZodIssue[];
}

/** Codes of issues that say no more than that the type does not fit. */
const TYPE_ISSUES = new Set<string | undefined>(['invalid_type', 'invalid_value', 'invalid_union']);

export function errorsOfIssue(issue: StandardSchemaV1.Issue, context: IssueContext): GatewayError[] {
  return flatten(redacted(issue, context.redact)).flatMap((flat) => {
    const path = pathOf(flat);
    if (flat.keys) return flat.keys.map((key) => unknownKey(key, path, context));
    if (flat.code === 'invalid_key') return [wrongName(flat, path, context)];
    const value = valueAt(context.value, path);
    return [
      value === undefined && path.length > 0 ? missing(flat, path, context) : wrongValue(flat, path, context),
    ];
  });
}

export function pathOf(issue: StandardSchemaV1.Issue): (string | number)[] {
  return (issue.path ?? []).map((segment) => {
    const key = typeof segment === 'object' ? segment.key : segment;
    return typeof key === 'number' ? key : String(key);
  });
}

function redacted(issue: ZodIssue, redact: (text: string) => string): ZodIssue {
  const inner = (issues: readonly ZodIssue[]) => issues.map((one) => redacted(one, redact));
  return {
    ...issue,
    message: redact(issue.message),
    ...(issue.errors && { errors: issue.errors.map(inner) }),
    ...(issue.issues && { issues: inner(issue.issues) }),
  };
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
  return [{ ...issue, message: eitherOf((issue.errors ?? []).flat()) }];
}

function eitherOf(issues: readonly ZodIssue[]): string {
  const expected = issues.map(({ expected: type }) => type);
  const received = /received (\w+)$/.exec(issues[0]?.message ?? '')?.[1];
  if (received !== undefined && expected.every((type) => type !== undefined)) {
    return `expected ${[...new Set(expected)].join(' or ')}, received ${received}`;
  }
  return [...new Set(issues.map(({ message }) => sentence(message)))].join(' Or: ');
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

function missing(
  issue: ZodIssue,
  path: Path,
  { pointer, locator, subject, schema }: IssueContext,
): GatewayError {
  const key = path.at(-1)!;
  const example = exampleAt(schema, path);
  const parent = path.slice(0, -1);
  return new GatewayError('config.missing-key', `${JSON.stringify(key)} is missing in ${subject(parent)}.`, {
    where: locator.locate(pointer + toPointer(path)),
    // A validator that looks at several keys together says why one of them is needed.
    why: TYPE_ISSUES.has(issue.code) ? 'It has no default.' : sentence(issue.message),
    fix: `Add ${JSON.stringify(key)}${example === undefined ? '' : `, for example "${key}": ${example}`}.`,
  });
}

function wrongValue(issue: ZodIssue, path: Path, context: IssueContext): GatewayError {
  const { pointer, locator, subject, schema, value } = context;
  const name = path.findLast((segment) => typeof segment === 'string');
  const parent = path.slice(0, path.lastIndexOf(name ?? ''));
  const fix = adviceFor(schema, path, valueAt(value, path)) ?? 'Correct the value.';
  const summary =
    name === undefined
      ? `Wrong value for ${subject(path)}.`
      : `Wrong value for ${JSON.stringify(name)} in ${subject(parent)}.`;
  const where = locator.locate(pointer + toPointer(path));
  return new GatewayError('config.invalid', summary, { where, why: sentence(issue.message), fix });
}

/** A key that is a name which its owner may choose. */
function wrongName(issue: ZodIssue, path: Path, { pointer, locator, subject }: IssueContext): GatewayError {
  const name = String(path.at(-1));
  const better = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replace(/^-/, '')
    .slice(0, 31);
  return new GatewayError(
    'config.invalid',
    `Wrong name ${JSON.stringify(name)} in ${subject(path.slice(0, -1))}.`,
    {
      where: locator.locate(pointer + toPointer(path), 'key'),
      why: sentence(issue.issues?.[0]?.message ?? issue.message),
      fix: `Rename it, for example to "${better || 'disk0'}".`,
    },
  );
}

/** zod's "Invalid input: expected string, received number" as a sentence. */
function sentence(message: string): string {
  const text = message
    .replace(/^Invalid (?:input|option): /, '')
    .replace('expected record', 'expected object');
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
