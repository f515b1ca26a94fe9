import type { OpenObject } from './bucket.ts';
import { evaluateRead, preconditionFailed } from './conditions.ts';
import { S3Error } from './errors.ts';
import type { ObjectStore } from './object-store.ts';
import { header, type S3Request } from './request.ts';
import { Query, uriDecode } from './uri.ts';

/** Opens what x-amz-copy-source names, if the x-amz-copy-source-if-* conditions hold. */
export async function openCopySource(request: S3Request, store: ObjectStore): Promise<OpenObject> {
  const { bucket, key } = parseCopySource(header(request, 'x-amz-copy-source')!);
  await using stack = new AsyncDisposableStack();
  const source = await store.bucket(bucket).open(key);
  stack.use(source.handle);
  const condition = (name: string) => header(request, `x-amz-copy-source-if-${name}`);
  const outcome = evaluateRead(
    {
      ifMatch: condition('match'),
      ifNoneMatch: condition('none-match'),
      ifModifiedSince: condition('modified-since'),
      ifUnmodifiedSince: condition('unmodified-since'),
    },
    source.metadata,
  );
  if (outcome !== 'proceed') throw preconditionFailed('x-amz-copy-source-If');
  stack.move();
  return source;
}

/** `/bucket/key` or `bucket/key`, percent-encoded, perhaps with `?versionId=null`. */
export function parseCopySource(value: string): { readonly bucket: string; readonly key: string } {
  const mark = value.indexOf('?');
  const path = uriDecode(mark < 0 ? value : value.slice(0, mark)).replace(/^\//, '');
  const version = mark < 0 ? undefined : new Query(value.slice(mark + 1)).get('versionId');
  if (version !== undefined && version !== 'null')
    throw new S3Error('NotImplemented', undefined, { Header: 'versionId' });
  const slash = path.indexOf('/');
  if (slash < 1 || slash === path.length - 1) {
    throw new S3Error(
      'InvalidArgument',
      'Copy Source must mention the source bucket and key: sourcebucket/sourcekey',
      {
        ArgumentName: 'x-amz-copy-source',
        ArgumentValue: value,
      },
    );
  }
  return { bucket: path.slice(0, slash), key: path.slice(slash + 1) };
}
