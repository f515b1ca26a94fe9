import { type Node, type ParseError, parseTree, printParseErrorCode, stripComments } from 'jsonc-parser';
import { GatewayError } from '../api/errors.ts';
import type { Locator } from './config.ts';
import { excerpt } from './excerpt.ts';
import { TextLocator, toPointer } from './pointer.ts';

export interface ParsedDocument {
  /** Absent when the text is not JSON. Objects have no prototype: a key may be called anything. */
  readonly value: unknown;
  readonly locator: Locator;
  readonly problems: readonly GatewayError[];
}

/** JSON with comments and trailing commas (JSONC). `name` is how messages call the text. Never throws. */
export function parseDocument(text: string, name: string): ParsedDocument {
  const source = text.replace(/^\uFEFF/, '');
  const errors: ParseError[] = [];
  let root: Node | undefined;
  try {
    root = parseTree(source, errors, { allowTrailingComma: true });
  } catch (cause) {
    // The parser recurses: the only thing that stops it is the stack.
    const why = 'Objects and arrays are nested too deeply to be read.';
    const problem = new GatewayError('config.syntax', `${name} cannot be parsed.`, {
      where: { file: name },
      why,
      cause,
    });
    return { value: undefined, locator: new TextLocator(name, source, undefined), problems: [problem] };
  }
  const locator = new TextLocator(name, source, root);
  if (stripComments(source).trim() === '')
    return { value: undefined, locator, problems: [emptyFile(name, locator)] };
  // What follows the first syntax error is mostly its consequence.
  const first = errors[0];
  if (first) return { value: undefined, locator, problems: [syntaxError(name, source, first, locator)] };
  const problems: GatewayError[] = [];
  return { value: root && toValue(root, [], name, locator, problems), locator, problems };
}

function emptyFile(name: string, locator: TextLocator): GatewayError {
  return new GatewayError('config.syntax', `${name} is empty.`, {
    where: locator.at(0),
    why: 'A configuration is a JSON object with "version" and "disks".',
    fix: 'Write at least { "version": 1, "disks": {} }.',
  });
}

function toValue(
  node: Node,
  path: (string | number)[],
  name: string,
  locator: TextLocator,
  problems: GatewayError[],
): unknown {
  if (node.type === 'array') {
    return node.children?.map((child, index) => toValue(child, [...path, index], name, locator, problems));
  }
  if (node.type !== 'object') return node.value as unknown;
  const object: Record<string, unknown> = Object.create(null);
  const firstOffset = new Map<string, number>();
  for (const { children } of node.children ?? []) {
    const [keyNode, valueNode] = children ?? [];
    if (!keyNode || !valueNode) continue;
    const key = keyNode.value as string;
    const first = firstOffset.get(key);
    if (first === undefined) firstOffset.set(key, keyNode.offset);
    else problems.push(duplicateKey(key, [...path, key], first, keyNode.offset, locator));
    object[key] = toValue(valueNode, [...path, key], name, locator, problems);
  }
  return object;
}

function duplicateKey(
  key: string,
  path: (string | number)[],
  firstOffset: number,
  offset: number,
  locator: TextLocator,
): GatewayError {
  const { line } = locator.at(firstOffset);
  return new GatewayError('config.duplicate-key', `The key ${JSON.stringify(key)} is given twice.`, {
    where: locator.at(offset, toPointer(path)),
    why: `Only one of them could count; the first is on line ${line}.`,
    fix:
      path[0] === 'disks' && path.length === 2 ? 'Give the second disk another name.' : 'Remove one of them.',
  });
}

function syntaxError(name: string, text: string, error: ParseError, locator: TextLocator): GatewayError {
  const offset = offsetOf(text, error);
  const where = locator.at(offset);
  const { what, fix } = SYNTAX[printParseErrorCode(error.error)] ?? {
    what: 'it does not parse',
    fix: 'Correct the syntax.',
  };
  return new GatewayError('config.syntax', `${name} is not valid JSON: ${what}.`, {
    where,
    why: excerpt(text, where.line!, where.column!),
    fix,
  });
}

/** A missing comma belongs after the value before it, not at the start of the next line. */
function offsetOf(text: string, { error, offset }: ParseError): number {
  if (printParseErrorCode(error) !== 'CommaExpected') return offset;
  const before = text.slice(0, offset);
  const comment = /\/[/*]/.test(before.slice(before.trimEnd().lastIndexOf('\n') + 1));
  return comment ? offset : before.trimEnd().length;
}

const SYNTAX: Readonly<Partial<Record<string, { what: string; fix: string }>>> = {
  InvalidSymbol: {
    what: 'there is a word that is not JSON',
    fix: 'Put text in double quotes.',
  },
  InvalidNumberFormat: { what: 'a number is malformed', fix: 'Correct it, or quote it.' },
  PropertyNameExpected: { what: 'a key is expected', fix: 'Write keys in double quotes.' },
  ValueExpected: {
    what: 'a value is expected',
    fix: 'Write a value, or remove what needs it.',
  },
  ColonExpected: {
    what: 'a colon is missing',
    fix: 'Put ":" between the key and its value.',
  },
  CommaExpected: { what: 'a comma is missing', fix: 'Put "," between the two.' },
  CloseBraceExpected: { what: '"}" is missing', fix: 'Close the object.' },
  CloseBracketExpected: { what: '"]" is missing', fix: 'Close the array.' },
  EndOfFileExpected: {
    what: 'something follows its end',
    fix: 'Remove what stands after the last brace.',
  },
  InvalidCommentToken: { what: 'a comment is malformed', fix: 'Write // or /* … */.' },
  UnexpectedEndOfComment: { what: 'a comment is not closed', fix: 'Close it with */.' },
  UnexpectedEndOfString: {
    what: 'a string is not closed',
    fix: 'Close it with a double quote.',
  },
  UnexpectedEndOfNumber: { what: 'a number is incomplete', fix: 'Complete it.' },
  InvalidUnicode: {
    what: 'a \\u escape is malformed',
    fix: 'Write four hexadecimal digits.',
  },
  InvalidEscapeCharacter: {
    what: 'an escape is unknown',
    fix: 'Write a backslash in a string as "\\\\".',
  },
  InvalidCharacter: {
    what: 'a string holds a control character',
    fix: 'Write it as an escape, such as \\n or \\t.',
  },
};
