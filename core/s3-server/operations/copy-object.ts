import { createHash } from 'node:crypto';
import { type Checksum, checksumElement, createHasher, parseChecksumAlgorithm } from '../checksums.ts';
import { writePrecondition } from '../conditions.ts';
import { openCopySource, parseCopySource } from '../copy-source.ts';
import { S3Error } from '../errors.ts';
import type { ObjectMetadata } from '../object-file.ts';
import { storedHeaders } from '../object-headers.ts';
import type { ObjectStore } from '../object-store.ts';
import { type OperationContext, readPieces, type S3Response } from '../operation.ts';
import { header, type S3Request } from '../request.ts';
import { renderXml, S3_NAMESPACE, type XmlNode } from '../xml-writer.ts';
import { MAX_PUT_BYTES } from './put-object.ts';

export async function copyObject({ request, store }: OperationContext): Promise<S3Response> {
  const bucket = store.bucket(request.bucket!);
  const precondition = writePrecondition(request);
  const replace = replacesMetadata(request);
  requireChange(request, store, replace);
  const { metadata: source, handle } = await openCopySource(request, store);
  await using _ = handle;
  if (source.size > MAX_PUT_BYTES) throw new S3Error('EntityTooLarge');
  await using writer = await store.createWriter();
  const md5 = createHash('md5');
  const named = header(request, 'x-amz-checksum-algorithm');
  const algorithm = named === undefined ? source.checksum?.algorithm : parseChecksumAlgorithm(named);
  const hasher = algorithm && createHasher(algorithm);
  for await (const piece of readPieces(handle, { start: 0, length: source.size })) {
    md5.update(piece);
    hasher?.update(piece);
    await writer.write(piece);
  }
  const checksum: Checksum | undefined = algorithm &&
    hasher && { algorithm, value: hasher.digest().toString('base64'), type: 'FULL_OBJECT' };
  const metadata: ObjectMetadata = {
    key: request.key!,
    size: source.size,
    etag: md5.digest('hex'),
    lastModified: Date.now(),
    headers: replace ? storedHeaders(request) : source.headers,
    checksum,
  };
  await writer.finish(metadata);
  await bucket.put(writer, metadata, precondition);
  return { status: 200, body: renderXml(copyResult('CopyObjectResult', metadata), S3_NAMESPACE) };
}

/** The document that answers a copy, of an object or of a part. */
export function copyResult(name: string, { etag, lastModified, checksum }: ObjectMetadata): XmlNode {
  return [
    name,
    [
      ['ETag', `"${etag}"`],
      ['LastModified', new Date(lastModified).toISOString()],
      ...(checksum ? [[checksumElement(checksum.algorithm), checksum.value] as const] : []),
    ],
  ];
}

function replacesMetadata(request: S3Request): boolean {
  const directive = header(request, 'x-amz-metadata-directive') ?? 'COPY';
  if (directive === 'COPY' || directive === 'REPLACE') return directive === 'REPLACE';
  throw new S3Error('InvalidArgument', 'Unknown metadata directive.', {
    ArgumentName: 'x-amz-metadata-directive',
    ArgumentValue: directive,
  });
}

/** A copy onto itself must change something besides the time. */
function requireChange(request: S3Request, store: ObjectStore, replace: boolean): void {
  const source = parseCopySource(header(request, 'x-amz-copy-source')!);
  const sameObject = source.bucket === request.bucket && source.key === request.key;
  if (!sameObject || replace || header(request, 'x-amz-checksum-algorithm') !== undefined) return;
  store.bucket(source.bucket).head(source.key);
  throw new S3Error(
    'InvalidRequest',
    "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
  );
}
