import { parseXml, type XmlElement } from '../../../core/s3-server/xml-reader.ts';
import type { RawResponse } from './raw-client.ts';

/** What a client can tell of a response, without what must differ between two servers. */
export interface Observation {
  readonly status: number;
  readonly code: string | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  /** Bytes of an object as hex; a document as its elements. */
  readonly body: unknown;
}

const HEADERS =
  /^(etag|content-type|content-range|content-language|content-disposition|content-encoding|cache-control|expires|x-amz-meta-.*|x-amz-checksum-.*)$/;
/** Times, names and extensions that are each server's own. */
const OWN_ELEMENTS = new Set([
  'CreationDate',
  'Initiated',
  'Initiator',
  'LastModified',
  'Location',
  'NextContinuationToken',
  'NextUploadIdMarker',
  'ContinuationToken',
  'Owner',
  'Type',
  'UploadId',
]);

export function observe(response: RawResponse): Observation {
  const { status, code } = response;
  // Errors are compared by status and code; their wording is each server's own.
  if (status >= 300) return { status, code, headers: {}, body: undefined };
  const isDocument = response.headers['content-type'] === 'application/xml' && response.body.length > 0;
  const told = Object.entries(response.headers).filter(([name]) => HEADERS.test(name));
  return {
    status,
    code,
    headers: Object.fromEntries(told),
    body: isDocument ? elements(parseXml(response.body.toString())) : response.body.toString('hex'),
  };
}

/** Text of a leaf; otherwise the children by name, those of one name in their order. */
function elements(element: XmlElement): unknown {
  if (element.children.length === 0) return element.text;
  const out: Record<string, unknown[]> = {};
  for (const child of element.children) {
    if (OWN_ELEMENTS.has(child.name)) continue;
    out[child.name] ??= [];
    out[child.name]!.push(elements(child));
  }
  // In the order that the server finished them, which means nothing.
  out['Deleted']?.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  return out;
}
