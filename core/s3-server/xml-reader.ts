import { S3Error } from './errors.ts';

/** An element that was read: text is the concatenation of its own character data. */
export interface XmlElement {
  readonly name: string;
  readonly text: string;
  readonly children: readonly XmlElement[];
}

const TOKEN =
  /<\?[\s\S]*?\?>|<!--[\s\S]*?-->|<!\[CDATA\[([\s\S]*?)\]\]>|<(\/?)([A-Za-z_][\w.:-]*)((?:\s+[\w.:-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>|([^<]+)/y;
const MAX_DEPTH = 8;

interface OpenElement {
  readonly name: string;
  text: string;
  readonly children: XmlElement[];
}

/**
 * Reads the small documents that S3 requests carry. Attributes are skipped and prefixes dropped. A document type
 * declaration is refused, so that no entity can be defined; anything not well formed is `MalformedXML`.
 */
export function parseXml(document: string): XmlElement {
  const top: OpenElement = { name: '', text: '', children: [] };
  const stack = [top];
  TOKEN.lastIndex = 0;
  const text = document.replace(/^\uFEFF/, '');
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    if (!match) throw new S3Error('MalformedXML');
    readToken(match, stack);
  }
  const root = top.children[0];
  if (stack.length !== 1 || top.children.length !== 1 || top.text.trim() !== '' || !root) {
    throw new S3Error('MalformedXML');
  }
  return root;
}

function readToken(match: RegExpExecArray, stack: OpenElement[]): void {
  const [, cdata, closing, qualifiedName, , selfClosing, charData] = match;
  const current = stack.at(-1)!;
  if (cdata !== undefined) current.text += cdata;
  else if (charData !== undefined) current.text += unescapeText(charData);
  if (qualifiedName === undefined) return;
  const name = qualifiedName.slice(qualifiedName.indexOf(':') + 1);
  if (closing) {
    if (current.name !== name || stack.length === 1) throw new S3Error('MalformedXML');
    stack.pop();
    return;
  }
  const element: OpenElement = { name, text: '', children: [] };
  current.children.push(element);
  if (selfClosing) return;
  if (stack.length > MAX_DEPTH) throw new S3Error('MalformedXML');
  stack.push(element);
}

const NAMED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function unescapeText(text: string): string {
  return text.replace(/\r\n?/g, '\n').replace(/&([^;&\s]{0,10});?/g, (reference, body: string) => {
    const named = NAMED[body];
    if (named !== undefined && reference.endsWith(';')) return named;
    const code = /^#(?:x([0-9a-fA-F]{1,6})|(\d{1,7}));?$/.exec(
      `${body}${reference.endsWith(';') ? ';' : ''}`,
    );
    const point = code ? Number.parseInt(code[1] ?? code[2]!, code[1] ? 16 : 10) : Number.NaN;
    if (!(point <= 0x10ffff) || (point >= 0xd800 && point <= 0xdfff) || !reference.endsWith(';'))
      throw new S3Error('MalformedXML');
    return String.fromCodePoint(point);
  });
}

/** The text of the first child called `name`. */
export function childText(element: XmlElement, name: string): string | undefined {
  return element.children.find((child) => child.name === name)?.text;
}
