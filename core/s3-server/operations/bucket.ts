import { S3Error } from '../errors.ts';
import type { OperationContext, S3Response } from '../operation.ts';
import { childText, parseXml } from '../xml-reader.ts';
import { renderXml, S3_NAMESPACE } from '../xml-writer.ts';

const MAX_DOCUMENT = 64 * 1024;

export async function createBucket({ request, body, store, region }: OperationContext): Promise<S3Response> {
  const document = await body.receiveText({ maxSize: MAX_DOCUMENT });
  const location = document === '' ? undefined : childText(parseXml(document), 'LocationConstraint');
  if (location && location !== region) {
    throw new S3Error(
      'InvalidRequest',
      `The location constraint ${location} is not the region of this server, ${region}.`,
    );
  }
  const created = await store.createBucket(request.bucket!);
  // As in us-east-1, to create one's own bucket again changes nothing and is no error.
  return { status: 200, headers: created ? { location: `/${request.bucket}` } : {} };
}

export async function deleteBucket({ request, store }: OperationContext): Promise<S3Response> {
  await store.deleteBucket(request.bucket!);
  return { status: 204 };
}

export async function headBucket({ request, store, region }: OperationContext): Promise<S3Response> {
  store.bucket(request.bucket!);
  return { status: 200, headers: { 'x-amz-bucket-region': region } };
}

export async function getBucketLocation({ request, store, region }: OperationContext): Promise<S3Response> {
  store.bucket(request.bucket!);
  // S3 writes its first region as no constraint.
  const constraint = region === 'us-east-1' ? '' : region;
  return { status: 200, body: renderXml(['LocationConstraint', constraint], S3_NAMESPACE) };
}

/** Never versioned: the document that says so is empty. */
export async function getBucketVersioning({ request, store }: OperationContext): Promise<S3Response> {
  store.bucket(request.bucket!);
  return { status: 200, body: renderXml(['VersioningConfiguration', []], S3_NAMESPACE) };
}
