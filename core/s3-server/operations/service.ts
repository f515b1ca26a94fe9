import type { OperationContext, S3Response } from '../operation.ts';
import { renderXml, S3_NAMESPACE, type XmlNode } from '../xml-writer.ts';

export const OWNER: XmlNode = [
  'Owner',
  [
    ['ID', 'blockgate'],
    ['DisplayName', 'blockgate'],
  ],
];

export async function listBuckets({ store }: OperationContext): Promise<S3Response> {
  const buckets = store.buckets().map(
    ({ name, created }): XmlNode => [
      'Bucket',
      [
        ['Name', name],
        ['CreationDate', new Date(created).toISOString()],
      ],
    ],
  );
  return {
    status: 200,
    body: renderXml(['ListAllMyBucketsResult', [OWNER, ['Buckets', buckets]]], S3_NAMESPACE),
  };
}
