/** An element to write: its name and its text or children. `undefined` content leaves the element out. */
export type XmlNode = readonly [name: string, content: XmlContent];
export type XmlContent = string | number | boolean | undefined | readonly XmlNode[];

export const S3_NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/';

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** Control characters, which XML 1.0 cannot hold, become character references as S3 writes them. */
function escapeText(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are the ones to escape
  return text.replace(/[&<>"\u0000-\u001f]/g, (char) => ESCAPES[char] ?? `&#${char.charCodeAt(0)};`);
}

function renderNode([name, content]: XmlNode, attributes = ''): string {
  if (content === undefined) return '';
  const inner =
    typeof content === 'object' ? content.map((n) => renderNode(n)).join('') : escapeText(`${content}`);
  return `<${name}${attributes}>${inner}</${name}>`;
}

/** A whole document. With `namespace`, the root carries it as its default namespace. */
export function renderXml(root: XmlNode, namespace?: string): string {
  const attributes = namespace === undefined ? '' : ` xmlns="${namespace}"`;
  return `<?xml version="1.0" encoding="UTF-8"?>\n${renderNode(root, attributes)}`;
}
