import { type ChecksumAlgorithm, type ChecksumType, parseChecksumAlgorithm } from '../checksums.ts';
import { S3Error } from '../errors.ts';
import { storedHeaders } from '../object-headers.ts';
import type { OperationContext, S3Response } from '../operation.ts';
import { header, type S3Request } from '../request.ts';
import { renderXml, S3_NAMESPACE } from '../xml-writer.ts';

export async function createMultipartUpload({ request, store }: OperationContext): Promise<S3Response> {
  const checksum = requestedChecksum(request);
  const upload = await store.bucket(request.bucket!).uploads.create({
    key: request.key!,
    initiated: Date.now(),
    headers: storedHeaders(request),
    checksum,
  });
  const headers = checksum && {
    'x-amz-checksum-algorithm': checksum.algorithm,
    'x-amz-checksum-type': checksum.type,
  };
  return {
    status: 200,
    headers: headers ?? {},
    body: renderXml(
      [
        'InitiateMultipartUploadResult',
        [
          ['Bucket', request.bucket],
          ['Key', request.key],
          ['UploadId', upload.id],
        ],
      ],
      S3_NAMESPACE,
    ),
  };
}

/** Which types go with which algorithm: table in the S3 User Guide, "Checking object integrity". */
function requestedChecksum(
  request: S3Request,
): { algorithm: ChecksumAlgorithm; type: ChecksumType } | undefined {
  const name = header(request, 'x-amz-checksum-algorithm');
  const type = header(request, 'x-amz-checksum-type');
  if (name === undefined) {
    if (type !== undefined) {
      throw new S3Error(
        'InvalidRequest',
        'The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.',
      );
    }
    return undefined;
  }
  const algorithm = parseChecksumAlgorithm(name);
  const wanted = type ?? (algorithm === 'CRC64NVME' ? 'FULL_OBJECT' : 'COMPOSITE');
  if (wanted !== 'FULL_OBJECT' && wanted !== 'COMPOSITE') {
    throw new S3Error('InvalidRequest', 'Value for x-amz-checksum-type header is invalid.');
  }
  const possible = wanted === 'COMPOSITE' ? algorithm !== 'CRC64NVME' : algorithm.startsWith('CRC');
  if (!possible) {
    throw new S3Error(
      'InvalidRequest',
      `The ${wanted} checksum type cannot be used with the ${algorithm} checksum algorithm.`,
    );
  }
  return { algorithm, type: wanted };
}
