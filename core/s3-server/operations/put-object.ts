import { writePrecondition } from '../conditions.ts';
import type { ObjectMetadata } from '../object-file.ts';
import { checksumHeaders, storedHeaders } from '../object-headers.ts';
import type { OperationContext, S3Response } from '../operation.ts';

/** The largest object that one PUT may carry: 5 GiB. */
export const MAX_PUT_BYTES = 5 * 2 ** 30;

export async function putObject({ request, body, store }: OperationContext): Promise<S3Response> {
  const bucket = store.bucket(request.bucket!);
  const precondition = writePrecondition(request);
  const headers = storedHeaders(request);
  await using writer = await store.createWriter();
  const received = await body.receive((data) => writer.write(data), { maxSize: MAX_PUT_BYTES });
  const metadata: ObjectMetadata = {
    key: request.key!,
    size: received.size,
    etag: received.md5,
    lastModified: Date.now(),
    headers,
    checksum: received.checksum,
  };
  await writer.finish(metadata);
  await bucket.put(writer, metadata, precondition);
  return { status: 200, headers: { etag: `"${metadata.etag}"`, ...checksumHeaders(metadata) } };
}
