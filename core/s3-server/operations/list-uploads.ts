import { checksumElement } from '../checksums.ts';
import type { OperationContext, S3Response } from '../operation.ts';
import { compareUtf8 } from '../sorted-keys.ts';
import type { Upload } from '../uploads.ts';
import { renderXml, S3_NAMESPACE, type XmlNode } from '../xml-writer.ts';
import { listEncoder, parseMaximum } from './list-objects.ts';
import { OWNER } from './service.ts';

const MAX_ITEMS = 1000;

/** By key, then by age. Rolled up by delimiter like a listing of objects. */
export async function listMultipartUploads({ request, store }: OperationContext): Promise<S3Response> {
  const { query } = request;
  const encode = listEncoder(query);
  const prefix = query.get('prefix') ?? '';
  const delimiter = query.get('delimiter') ?? '';
  const maxUploads = parseMaximum(query, 'max-uploads', MAX_ITEMS);
  const keyMarker = query.get('key-marker') ?? '';
  const idMarker = query.get('upload-id-marker') ?? '';
  const bucket = store.bucket(request.bucket!);
  const all = [...bucket.uploads.all()]
    .filter((upload) => upload.key.startsWith(prefix))
    .sort(compareUploads);
  const markerAt = all.findIndex((upload) => upload.key === keyMarker && upload.id === idMarker);
  const rest = markerAt >= 0 ? all.slice(markerAt + 1) : all.filter((u) => compareUtf8(u.key, keyMarker) > 0);
  const groups = groupByPrefix(rest, prefix, delimiter);
  const page = groups.slice(0, maxUploads);
  const last = groups.length > page.length ? page.at(-1)?.uploads.at(-1) : undefined;
  const document: XmlNode[] = [
    ['Bucket', bucket.name],
    ['KeyMarker', encode(keyMarker)],
    ['UploadIdMarker', idMarker],
    ['NextKeyMarker', last && encode(last.key)],
    ['NextUploadIdMarker', last?.id],
    ['Prefix', encode(prefix)],
    ['Delimiter', delimiter === '' ? undefined : encode(delimiter)],
    ['EncodingType', query.get('encoding-type')],
    ['MaxUploads', maxUploads],
    ['IsTruncated', last !== undefined],
    ...page.filter((group) => !group.prefix).map((group) => uploadNode(group.uploads[0]!, encode)),
    ...page
      .filter((group) => group.prefix)
      .map((group): XmlNode => ['CommonPrefixes', [['Prefix', encode(group.prefix!)]]]),
  ];
  return { status: 200, body: renderXml(['ListMultipartUploadsResult', document], S3_NAMESPACE) };
}

interface UploadGroup {
  /** The common prefix; undefined for an upload that stands for itself. */
  readonly prefix: string | undefined;
  readonly uploads: Upload[];
}

function groupByPrefix(uploads: readonly Upload[], prefix: string, delimiter: string): UploadGroup[] {
  const groups: UploadGroup[] = [];
  for (const upload of uploads) {
    const end = delimiter === '' ? -1 : upload.key.indexOf(delimiter, prefix.length);
    const common = end < 0 ? undefined : upload.key.slice(0, end + delimiter.length);
    const previous = groups.at(-1);
    if (common !== undefined && previous?.prefix === common) previous.uploads.push(upload);
    else groups.push({ prefix: common, uploads: [upload] });
  }
  return groups;
}

function compareUploads(a: Upload, b: Upload): number {
  return compareUtf8(a.key, b.key) || a.initiated - b.initiated || (a.id < b.id ? -1 : 1);
}

function uploadNode({ key, id, initiated, checksum }: Upload, encode: (text: string) => string): XmlNode {
  return [
    'Upload',
    [
      ['Key', encode(key)],
      ['UploadId', id],
      OWNER,
      ['StorageClass', 'STANDARD'],
      ['Initiated', new Date(initiated).toISOString()],
      ['ChecksumAlgorithm', checksum?.algorithm],
      ['ChecksumType', checksum?.type],
    ],
  ];
}

export async function listParts({ request, store }: OperationContext): Promise<S3Response> {
  const { query } = request;
  const upload = store.bucket(request.bucket!).uploads.get(query.get('uploadId')!, request.key!);
  const encode = listEncoder(query);
  const marker = parseMaximum(query, 'part-number-marker', 10_000) % 10_000;
  const maxParts = parseMaximum(query, 'max-parts', MAX_ITEMS);
  const rest = [...upload.parts].filter(([number]) => number > marker).sort(([a], [b]) => a - b);
  const page = rest.slice(0, maxParts);
  const truncated = rest.length > page.length;
  const document: XmlNode[] = [
    ['Bucket', request.bucket],
    ['Key', encode(upload.key)],
    ['UploadId', upload.id],
    OWNER,
    ['StorageClass', 'STANDARD'],
    ['PartNumberMarker', marker],
    ['NextPartNumberMarker', page.at(-1)?.[0] ?? marker],
    ['MaxParts', maxParts],
    ['IsTruncated', truncated],
    ['ChecksumAlgorithm', upload.checksum?.algorithm],
    ['ChecksumType', upload.checksum?.type],
    ...page.map(
      ([number, part]): XmlNode => [
        'Part',
        [
          ['PartNumber', number],
          ['LastModified', new Date(part.lastModified).toISOString()],
          ['ETag', `"${part.etag}"`],
          ['Size', part.size],
          ...(part.checksum
            ? [[checksumElement(part.checksum.algorithm), part.checksum.value] as const]
            : []),
        ],
      ],
    ),
  ];
  return { status: 200, body: renderXml(['ListPartsResult', document], S3_NAMESPACE) };
}
