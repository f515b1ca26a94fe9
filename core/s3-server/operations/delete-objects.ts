import { deletePrecondition } from '../conditions.ts';
import { S3Error } from '../errors.ts';
import type { OperationContext, S3Response } from '../operation.ts';
import { header, requireKeyLength, type S3Request } from '../request.ts';
import { childText, parseXml, type XmlElement } from '../xml-reader.ts';
import { renderXml, S3_NAMESPACE, type XmlNode } from '../xml-writer.ts';

const MAX_KEYS = 1000;
const MAX_DOCUMENT = 2 * 2 ** 20;

export async function deleteObject({ request, store }: OperationContext): Promise<S3Response> {
  await store.bucket(request.bucket!).delete(request.key!, deletePrecondition(header(request, 'if-match')));
  return { status: 204 };
}

/** Up to 1000 keys, each with its own outcome; the request succeeds even if every key fails. */
export async function deleteObjects({ request, body, store }: OperationContext): Promise<S3Response> {
  const bucket = store.bucket(request.bucket!);
  requireDigest(request);
  const document = parseXml(await body.receiveText({ maxSize: MAX_DOCUMENT }));
  const objects = document.children.filter((child) => child.name === 'Object');
  if (document.name !== 'Delete' || objects.length === 0 || objects.length > MAX_KEYS)
    throw new S3Error('MalformedXML');
  const quiet = childText(document, 'Quiet') === 'true';
  // Together, so that they share the flushes of the folder.
  const outcomes = await Promise.all(
    objects.map(async (object): Promise<XmlNode | undefined> => {
      const key = childText(object, 'Key') ?? '';
      try {
        refuseUnsupported(object, key);
        await bucket.delete(key, deletePrecondition(childText(object, 'ETag')));
        return quiet ? undefined : ['Deleted', [['Key', key]]];
      } catch (error) {
        if (!(error instanceof S3Error)) throw error;
        return [
          'Error',
          [
            ['Key', key],
            ['Code', error.code],
            ['Message', error.message],
          ],
        ];
      }
    }),
  );
  const listed = outcomes.filter((outcome) => outcome !== undefined);
  return { status: 200, body: renderXml(['DeleteResult', listed], S3_NAMESPACE) };
}

function requireDigest(request: S3Request): void {
  const names = Object.keys(request.headers);
  const given = names.some(
    (name) => name === 'content-md5' || name === 'x-amz-trailer' || /^x-amz-checksum-/.test(name),
  );
  if (!given) {
    throw new S3Error(
      'InvalidRequest',
      'Missing required header for this request: Content-MD5 OR x-amz-checksum-*',
    );
  }
}

function refuseUnsupported(object: XmlElement, key: string): void {
  if (key === '') throw new S3Error('MalformedXML');
  requireKeyLength(key);
  const version = childText(object, 'VersionId');
  const conditions = ['LastModifiedTime', 'Size'].filter((name) => childText(object, name) !== undefined);
  if ((version !== undefined && version !== 'null') || conditions.length > 0)
    throw new S3Error('NotImplemented');
}
