import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import {
  CHECKSUM_ALGORITHMS,
  type Checksum,
  checksumElement,
  checksumHeader,
  createHasher,
  type Hasher,
} from '../checksums.ts';
import { writePrecondition } from '../conditions.ts';
import { S3Error } from '../errors.ts';
import type { ObjectMetadata } from '../object-file.ts';
import { type OperationContext, readPieces, type S3Response } from '../operation.ts';
import { header, type S3Request } from '../request.ts';
import type { Upload } from '../uploads.ts';
import { childText, parseXml, type XmlElement } from '../xml-reader.ts';
import { renderXml, S3_NAMESPACE, type XmlNode } from '../xml-writer.ts';

const MIN_PART_BYTES = 5 * 2 ** 20;
const MAX_DOCUMENT = 4 * 2 ** 20;

interface NumberedPart extends ObjectMetadata {
  readonly number: number;
}

/** Joins the listed parts into one object. Completing again after success answers the same again. */
export async function completeMultipartUpload(context: OperationContext): Promise<S3Response> {
  const { request, body, store } = context;
  const bucket = store.bucket(request.bucket!);
  const id = request.query.get('uploadId')!;
  const precondition = writePrecondition(request);
  const document = await body.receiveText({ maxSize: MAX_DOCUMENT, ignoreChecksumHeaders: true });
  const wanted = readPartList(document);
  const join = async (upload: Upload): Promise<ObjectMetadata> => {
    const parts = selectParts(upload, wanted);
    await using writer = await store.createWriter();
    const hasher =
      upload.checksum?.type === 'FULL_OBJECT' ? createHasher(upload.checksum.algorithm) : undefined;
    for (const part of parts) {
      await using handle = await open(bucket.uploads.partPath(upload, part.number), 'r');
      for await (const piece of readPieces(handle, { start: 0, length: part.size })) {
        hasher?.update(piece);
        await writer.write(piece);
      }
    }
    const object = describeObject(upload, parts, hasher);
    requireAnnounced(request, object);
    await writer.finish(object);
    await bucket.put(writer, object, precondition);
    return object;
  };
  try {
    return completed(request, await bucket.uploads.finish(id, request.key!, join));
  } catch (error) {
    const current = bucket.find(request.key!);
    if (error instanceof S3Error && error.code === 'NoSuchUpload' && current?.uploadId === id) {
      return completed(request, current);
    }
    throw error;
  }
}

function completed(request: S3Request, object: ObjectMetadata): S3Response {
  const { checksum } = object;
  const nodes: XmlNode[] = [
    ['Location', `/${request.bucket}/${request.key}`],
    ['Bucket', request.bucket],
    ['Key', request.key],
    ['ETag', `"${object.etag}"`],
  ];
  if (checksum)
    nodes.push([checksumElement(checksum.algorithm), checksum.value], ['ChecksumType', checksum.type]);
  return { status: 200, body: renderXml(['CompleteMultipartUploadResult', nodes], S3_NAMESPACE) };
}

function readPartList(document: string): readonly XmlElement[] {
  const root = parseXml(document);
  const parts = root.children.filter((child) => child.name === 'Part');
  if (root.name !== 'CompleteMultipartUpload' || parts.length === 0) throw new S3Error('MalformedXML');
  return parts;
}

/** The uploaded parts that the list names, checked: in order, as they were uploaded, large enough. */
function selectParts(upload: Upload, wanted: readonly XmlElement[]): NumberedPart[] {
  const parts: NumberedPart[] = [];
  for (const element of wanted) {
    const number = Number(childText(element, 'PartNumber') ?? Number.NaN);
    if (!Number.isInteger(number)) throw new S3Error('MalformedXML');
    if (number <= (parts.at(-1)?.number ?? 0))
      throw new S3Error('InvalidPartOrder', undefined, { UploadId: upload.id });
    const part = upload.parts.get(number);
    if (!part || !matches(element, part)) {
      throw new S3Error('InvalidPart', undefined, { UploadId: upload.id, PartNumber: String(number) });
    }
    parts.push({ ...part, number });
  }
  const small = parts.slice(0, -1).find((part) => part.size < MIN_PART_BYTES);
  if (small) {
    throw new S3Error('EntityTooSmall', undefined, {
      ProposedSize: String(small.size),
      MinSizeAllowed: String(MIN_PART_BYTES),
      PartNumber: String(small.number),
      ETag: small.etag,
    });
  }
  return parts;
}

function matches(element: XmlElement, part: ObjectMetadata): boolean {
  if (childText(element, 'ETag')?.replace(/^"(.*)"$/, '$1') !== part.etag) return false;
  return CHECKSUM_ALGORITHMS.every((algorithm) => {
    const value = childText(element, checksumElement(algorithm));
    return value === undefined || part.checksum?.algorithm !== algorithm || part.checksum.value === value;
  });
}

function describeObject(
  upload: Upload,
  parts: readonly NumberedPart[],
  whole: Hasher | undefined,
): ObjectMetadata {
  const md5 = createHash('md5');
  for (const part of parts) md5.update(part.etag, 'hex');
  return {
    key: upload.key,
    size: parts.reduce((total, part) => total + part.size, 0),
    etag: `${md5.digest('hex')}-${parts.length}`,
    lastModified: Date.now(),
    headers: upload.headers,
    checksum: objectChecksum(upload, parts, whole),
    uploadId: upload.id,
  };
}

function objectChecksum(
  upload: Upload,
  parts: readonly NumberedPart[],
  whole: Hasher | undefined,
): Checksum | undefined {
  if (!upload.checksum) return undefined;
  if (whole) return { ...upload.checksum, value: whole.digest().toString('base64') };
  const hasher = createHasher(upload.checksum.algorithm);
  for (const part of parts) hasher.update(Buffer.from(part.checksum!.value, 'base64'));
  return { ...upload.checksum, value: `${hasher.digest().toString('base64')}-${parts.length}` };
}

/** What the request says of the whole object must be true. */
function requireAnnounced(request: S3Request, object: ObjectMetadata): void {
  const size = header(request, 'x-amz-mp-object-size');
  if (size !== undefined && size !== String(object.size)) {
    throw new S3Error(
      'InvalidRequest',
      `The object has ${object.size} bytes, not the ${size} of x-amz-mp-object-size.`,
    );
  }
  const { checksum } = object;
  const announced = checksum && header(request, checksumHeader(checksum.algorithm));
  if (announced !== undefined && announced !== checksum?.value) {
    throw new S3Error(
      'BadDigest',
      `The ${checksum?.algorithm} you specified did not match the calculated checksum.`,
    );
  }
}

/** Throws the upload and its parts away. */
export async function abortMultipartUpload({ request, store }: OperationContext): Promise<S3Response> {
  const bucket = store.bucket(request.bucket!);
  await bucket.uploads.finish(request.query.get('uploadId')!, request.key!, async () => {});
  return { status: 204 };
}
