import { createHash } from 'node:crypto';
import { checksumHeader, createHasher } from '../checksums.ts';
import { openCopySource } from '../copy-source.ts';
import { S3Error } from '../errors.ts';
import type { ObjectMetadata } from '../object-file.ts';
import { type OperationContext, readPieces, type S3Response } from '../operation.ts';
import { type ByteRange, parseRange } from '../range.ts';
import { header, type S3Request } from '../request.ts';
import type { Upload } from '../uploads.ts';
import { renderXml, S3_NAMESPACE } from '../xml-writer.ts';
import { copyResult } from './copy-object.ts';
import { MAX_PUT_BYTES } from './put-object.ts';

const MAX_PART_NUMBER = 10_000;

export async function uploadPart({ request, body, store }: OperationContext): Promise<S3Response> {
  const { uploads } = store.bucket(request.bucket!);
  const number = partNumber(request);
  const upload = uploads.get(request.query.get('uploadId')!, request.key!);
  await using writer = await store.createWriter();
  const received = await body.receive((data) => writer.write(data), {
    maxSize: MAX_PUT_BYTES,
    computeChecksum: upload.checksum?.algorithm,
  });
  requireAlgorithmOf(upload, received.checksum?.algorithm);
  const part: ObjectMetadata = {
    key: upload.key,
    size: received.size,
    etag: received.md5,
    lastModified: Date.now(),
    headers: {},
    checksum: received.checksum,
  };
  await writer.finish(part);
  await uploads.putPart(upload, number, writer, part);
  const checksum = part.checksum && { [checksumHeader(part.checksum.algorithm)]: part.checksum.value };
  return { status: 200, headers: { etag: `"${part.etag}"`, ...checksum } };
}

/** A part whose bytes are a range of an object that is already here. */
export async function uploadPartCopy({ request, store }: OperationContext): Promise<S3Response> {
  const { uploads } = store.bucket(request.bucket!);
  const number = partNumber(request);
  const upload = uploads.get(request.query.get('uploadId')!, request.key!);
  const { metadata: source, handle } = await openCopySource(request, store);
  await using _ = handle;
  const range = copyRange(request, source.size);
  if (range.length > MAX_PUT_BYTES) throw new S3Error('EntityTooLarge');
  await using writer = await store.createWriter();
  const md5 = createHash('md5');
  const algorithm = upload.checksum?.algorithm;
  const hasher = algorithm && createHasher(algorithm);
  for await (const piece of readPieces(handle, range)) {
    md5.update(piece);
    hasher?.update(piece);
    await writer.write(piece);
  }
  const part: ObjectMetadata = {
    key: upload.key,
    size: range.length,
    etag: md5.digest('hex'),
    lastModified: Date.now(),
    headers: {},
    checksum: algorithm &&
      hasher && { algorithm, value: hasher.digest().toString('base64'), type: 'FULL_OBJECT' },
  };
  await writer.finish(part);
  await uploads.putPart(upload, number, writer, part);
  return { status: 200, body: renderXml(copyResult('CopyPartResult', part), S3_NAMESPACE) };
}

function partNumber(request: S3Request): number {
  const text = request.query.get('partNumber') ?? '';
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= MAX_PART_NUMBER) return number;
  throw new S3Error(
    'InvalidArgument',
    `Part number must be an integer between 1 and ${MAX_PART_NUMBER}, inclusive`,
    {
      ArgumentName: 'partNumber',
      ArgumentValue: text,
    },
  );
}

function requireAlgorithmOf(upload: Upload, actual: string | undefined): void {
  const expected = upload.checksum?.algorithm;
  if (expected === undefined || expected === actual) return;
  throw new S3Error(
    'InvalidRequest',
    `Checksum Type mismatch occurred, expected checksum Type: ${expected.toLowerCase()}, actual checksum Type: ${actual?.toLowerCase() ?? 'null'}`,
  );
}

/** Unlike the Range header, this one must be `bytes=first-last` and lie within the source. */
function copyRange(request: S3Request, size: number): ByteRange {
  const value = header(request, 'x-amz-copy-source-range');
  if (value === undefined) return { start: 0, length: size };
  const wellFormed = /^bytes=(\d+)-(\d+)$/.exec(value);
  const range = wellFormed ? parseRange(value, size) : undefined;
  if (!wellFormed || range === undefined) {
    throw new S3Error(
      'InvalidArgument',
      'The x-amz-copy-source-range value must be of the form bytes=first-last',
      {
        ArgumentName: 'x-amz-copy-source-range',
        ArgumentValue: value,
      },
    );
  }
  if (range === 'unsatisfiable' || Number(wellFormed[2]) >= size) {
    throw new S3Error('InvalidRange', undefined, { RangeRequested: value, ActualObjectSize: String(size) });
  }
  return range;
}
