import type { Node } from 'jsonc-parser';
import type { ErrorLocation } from '../api/errors.ts';
import type { Locator } from './config.ts';

export type Path = readonly (string | number)[];

/** RFC 6901: `~` and `/` inside a segment are written `~0` and `~1`. The whole document is the empty string. */
export function toPointer(path: Path): string {
  return path.map((segment) => `/${String(segment).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

export function fromPointer(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** Lines and columns of a text, both from 1; columns count UTF-16 units, as editors do. */
export function positionAt(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset);
  const lineStart = before.lastIndexOf('\n') + 1;
  return { line: before.split('\n').length, column: offset - lineStart + 1 };
}

/** Finds what a JSON pointer names in the text it was parsed from. */
export class TextLocator implements Locator {
  readonly #name: string;
  readonly #text: string;
  readonly #root: Node | undefined;

  /** `name` is how messages call the file. */
  constructor(name: string, text: string, root: Node | undefined) {
    this.#name = name;
    this.#text = text;
    this.#root = root;
  }

  /** A value that does not exist is located at the nearest one around it. */
  locate(pointer: string, part: 'key' | 'value' = 'value'): ErrorLocation {
    let node = this.#root;
    let key: Node | undefined;
    for (const segment of fromPointer(pointer)) {
      const property = node && childOf(node, segment);
      if (!property) {
        key = undefined;
        break;
      }
      key = property.key;
      node = property.value ?? node;
    }
    return this.at((part === 'key' ? key : undefined)?.offset ?? node?.offset ?? 0, pointer);
  }

  at(offset: number, pointer?: string): ErrorLocation {
    return {
      file: this.#name,
      ...positionAt(this.#text, offset),
      ...(pointer === undefined || pointer === '' ? {} : { pointer }),
    };
  }
}

function childOf(node: Node, segment: string): { key?: Node; value: Node | undefined } | undefined {
  if (node.type === 'array') {
    const value = node.children?.[Number(segment)];
    return value && { value };
  }
  // The last of two equal keys is the one whose value counts.
  const property = node.children?.findLast((child) => child.children?.[0]?.value === segment);
  return property?.children && { key: property.children[0]!, value: property.children[1] };
}
