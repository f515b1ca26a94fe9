import {
  NBD_INFO_BLOCK_SIZE,
  NBD_INFO_DESCRIPTION,
  NBD_INFO_EXPORT,
  NBD_INFO_NAME,
  NBD_MAX_STRING_SIZE,
  NBD_META_BASE_ALLOCATION,
} from '../../core/nbd/protocol.ts';
import type { ExportOffer } from './export-offer.ts';

/** The data of options, and of the replies to them (doc/proto.md, "Option types"). */

/** Of NBD_OPT_INFO and NBD_OPT_GO. Undefined: malformed. */
export function parseInfoRequest(
  data: Buffer,
): { readonly name: string; readonly wanted: ReadonlySet<number> } | undefined {
  const name = stringAt(data, 0);
  if (name === undefined || data.length < name.end + 2) return undefined;
  const count = data.readUInt16BE(name.end);
  if (data.length !== name.end + 2 + 2 * count) return undefined;
  const wanted = new Set<number>();
  for (let i = 0; i < count; i++) wanted.add(data.readUInt16BE(name.end + 2 + 2 * i));
  return { name: name.text, wanted };
}

/** Of NBD_OPT_SET_META_CONTEXT and NBD_OPT_LIST_META_CONTEXT. Undefined: malformed. */
export function parseMetaRequest(
  data: Buffer,
): { readonly name: string; readonly queries: readonly string[] } | undefined {
  const name = stringAt(data, 0);
  if (name === undefined || data.length < name.end + 4) return undefined;
  const count = data.readUInt32BE(name.end);
  const queries: string[] = [];
  let at = name.end + 4;
  for (let i = 0; i < count; i++) {
    const query = stringAt(data, at);
    if (query === undefined) return undefined;
    queries.push(query.text);
    at = query.end;
  }
  return at === data.length ? { name: name.text, queries } : undefined;
}

/** A client that sets contexts names each; one that lists may ask for a whole namespace, or for everything. */
export function matchesAllocation(queries: readonly string[], setting: boolean): boolean {
  if (queries.includes(NBD_META_BASE_ALLOCATION)) return true;
  return !setting && (queries.length === 0 || queries.includes('base:'));
}

/** The data of each NBD_REP_INFO. The export and its block sizes are told in any case. */
export function exportFacts(offer: ExportOffer, structured: boolean, wanted: ReadonlySet<number>): Buffer[] {
  const sizes = Buffer.alloc(12);
  sizes.writeBigUInt64BE(BigInt(offer.size), 2);
  sizes.writeUInt16BE(offer.flags(structured), 10);
  sizes.writeUInt16BE(NBD_INFO_EXPORT, 0);
  const blocks = Buffer.alloc(14);
  blocks.writeUInt16BE(NBD_INFO_BLOCK_SIZE, 0);
  blocks.writeUInt32BE(offer.minBlock, 2);
  blocks.writeUInt32BE(offer.preferredBlock, 6);
  blocks.writeUInt32BE(offer.maxPayload, 10);
  const facts: Buffer[] = [sizes, blocks];
  if (wanted.has(NBD_INFO_NAME)) facts.push(textFact(NBD_INFO_NAME, offer.name));
  if (wanted.has(NBD_INFO_DESCRIPTION)) facts.push(textFact(NBD_INFO_DESCRIPTION, offer.description));
  return facts;
}

function textFact(type: number, text: string): Buffer {
  const bytes = Buffer.from(text);
  const fact = Buffer.alloc(2 + bytes.length);
  fact.writeUInt16BE(type, 0);
  bytes.copy(fact, 2);
  return fact;
}

/** A length of 32 bits and so many bytes of UTF-8. */
function stringAt(data: Buffer, at: number): { text: string; end: number } | undefined {
  if (data.length < at + 4) return undefined;
  const end = at + 4 + data.readUInt32BE(at);
  if (end > data.length || end - at - 4 > NBD_MAX_STRING_SIZE) return undefined;
  return { text: data.toString('utf8', at + 4, end), end };
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
