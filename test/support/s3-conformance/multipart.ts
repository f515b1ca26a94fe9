import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  type CompleteMultipartUploadCommandInput,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { expect } from 'vitest';
import { type Check, type CheckContext, expectError, pattern } from './context.ts';

const MIN_PART = 5 * 2 ** 20;

export interface StartedUpload {
  readonly UploadId: string;
  readonly parts: { readonly PartNumber: number; readonly ETag: string }[];
  complete(
    more?: Partial<CompleteMultipartUploadCommandInput>,
  ): Promise<{ readonly ETag?: string | undefined }>;
  abort(): Promise<unknown>;
}

/** Creates an upload and sends these parts. */
export async function startUpload(
  s3: CheckContext,
  key: string,
  bodies: readonly (Buffer | string)[],
  more: Partial<CreateMultipartUploadCommandInput> = {},
): Promise<StartedUpload> {
  const target = { Bucket: s3.bucket, Key: key };
  const created = await s3.client.send(new CreateMultipartUploadCommand({ ...target, ...more }));
  const UploadId = created.UploadId!;
  const parts: { PartNumber: number; ETag: string }[] = [];
  for (const [i, Body] of bodies.entries()) {
    const PartNumber = i + 1;
    const { ETag } = await s3.client.send(new UploadPartCommand({ ...target, UploadId, PartNumber, Body }));
    parts.push({ PartNumber, ETag: ETag! });
  }
  return {
    UploadId,
    parts,
    complete: (input) =>
      s3.client.send(
        new CompleteMultipartUploadCommand({
          ...target,
          UploadId,
          MultipartUpload: { Parts: parts },
          ...input,
        }),
      ),
    abort: () => s3.client.send(new AbortMultipartUploadCommand({ ...target, UploadId })),
  };
}

export const multipartChecks: readonly Check[] = [
  {
    name: 'parts become one object, with the ETag of its parts',
    run: async (s3) => {
      const bodies = [pattern(MIN_PART, 1), pattern(1234, 2)];
      const upload = await startUpload(s3, 'object', bodies, {
        ContentType: 'text/x-parts',
        Metadata: { a: '1' },
      });
      expect(await s3.keys()).toEqual([]);
      const { ETag } = await upload.complete();
      const md5s = bodies.map((body) => createHash('md5').update(body).digest());
      expect(ETag).toBe(`"${createHash('md5').update(Buffer.concat(md5s)).digest('hex')}-2"`);
      expect((await s3.bytes('object')).equals(Buffer.concat(bodies))).toBe(true);
      const head = await s3.client.send(new HeadObjectCommand({ Bucket: s3.bucket, Key: 'object' }));
      expect(head).toMatchObject({ ContentType: 'text/x-parts', Metadata: { a: '1' }, ETag });
    },
  },
  {
    name: 'a part sent again replaces the earlier one',
    run: async (s3) => {
      const upload = await startUpload(s3, 'object', ['first']);
      const { ETag } = await s3.client.send(
        new UploadPartCommand({
          Bucket: s3.bucket,
          Key: 'object',
          UploadId: upload.UploadId,
          PartNumber: 1,
          Body: 'second',
        }),
      );
      await upload.complete({ MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } });
      expect(await s3.text('object')).toBe('second');
    },
  },
  {
    name: 'a part other than the last under 5 MiB is EntityTooSmall',
    run: async (s3) => {
      const upload = await startUpload(s3, 'object', ['small', 'last']);
      await expectError(upload.complete(), 400, 'EntityTooSmall');
      await upload.abort();
    },
  },
  {
    name: 'a part that was not sent, or has another ETag, is InvalidPart',
    run: async (s3) => {
      const upload = await startUpload(s3, 'object', ['x']);
      const ETag = `"${'0'.repeat(32)}"`;
      const wrongEtag = { MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } };
      await expectError(upload.complete(wrongEtag), 400, 'InvalidPart');
      const missing = { MultipartUpload: { Parts: [...upload.parts, { PartNumber: 2, ETag }] } };
      await expectError(upload.complete(missing), 400, 'InvalidPart');
      await upload.abort();
    },
  },
  {
    name: 'parts out of order are InvalidPartOrder',
    run: async (s3) => {
      const upload = await startUpload(s3, 'object', [pattern(MIN_PART), 'x']);
      const Parts = upload.parts.toReversed();
      await expectError(upload.complete({ MultipartUpload: { Parts } }), 400, 'InvalidPartOrder');
      await upload.abort();
    },
  },
  {
    name: 'completing an aborted upload is NoSuchUpload',
    run: async (s3) => {
      const upload = await startUpload(s3, 'object', ['x']);
      await upload.abort();
      await expectError(upload.complete(), 404, 'NoSuchUpload');
    },
  },
  {
    name: 'a part for an aborted upload is NoSuchUpload, and no object is left',
    run: async (s3) => {
      const upload = await startUpload(s3, 'object', ['x']);
      await upload.abort();
      const part = new UploadPartCommand({
        Bucket: s3.bucket,
        Key: 'object',
        UploadId: upload.UploadId,
        PartNumber: 2,
        Body: 'y',
      });
      await expectError(s3.client.send(part), 404, 'NoSuchUpload');
      expect(await s3.keys()).toEqual([]);
    },
  },
  {
    name: 'uploads in progress are listed until they end',
    run: async (s3) => {
      const uploads = [await startUpload(s3, 'a', ['x']), await startUpload(s3, 'b', ['x'])];
      const listed = async () => {
        const page = await s3.client.send(new ListMultipartUploadsCommand({ Bucket: s3.bucket }));
        return (page.Uploads ?? []).map((upload) => [upload.Key, upload.UploadId]);
      };
      expect(await listed()).toEqual([
        ['a', uploads[0]!.UploadId],
        ['b', uploads[1]!.UploadId],
      ]);
      await uploads[0]!.abort();
      await uploads[1]!.complete();
      expect(await listed()).toEqual([]);
    },
  },
  {
    name: 'parts are listed, in pages',
    run: async (s3) => {
      const upload = await startUpload(s3, 'object', ['one', 'three', 'fifth']);
      const page = (marker?: string) =>
        s3.client.send(
          new ListPartsCommand({
            Bucket: s3.bucket,
            Key: 'object',
            UploadId: upload.UploadId,
            MaxParts: 2,
            PartNumberMarker: marker,
          }),
        );
      const first = await page();
      expect(first).toMatchObject({ IsTruncated: true, NextPartNumberMarker: '2' });
      expect(first.Parts?.map((part) => part.Size)).toEqual([3, 5]);
      const second = await page(first.NextPartNumberMarker);
      expect(second.Parts?.map((part) => part.PartNumber)).toEqual([3]);
      await upload.abort();
    },
  },
  {
    name: 'a part can be copied from a range of an object',
    run: async (s3) => {
      await s3.put('source', '0123456789');
      const upload = await startUpload(s3, 'object', []);
      const copied = await s3.client.send(
        new UploadPartCopyCommand({
          Bucket: s3.bucket,
          Key: 'object',
          UploadId: upload.UploadId,
          PartNumber: 1,
          CopySource: `${s3.bucket}/source`,
          CopySourceRange: 'bytes=2-5',
        }),
      );
      const Parts = [{ PartNumber: 1, ETag: copied.CopyPartResult!.ETag }];
      await upload.complete({ MultipartUpload: { Parts } });
      expect(await s3.text('object')).toBe('2345');
    },
  },
  {
    name: 'a part number out of range is InvalidArgument',
    run: async (s3) => {
      const upload = await startUpload(s3, 'object', []);
      const response = await s3.raw.send({
        method: 'PUT',
        path: `/${s3.bucket}/object`,
        query: { partNumber: '10001', uploadId: upload.UploadId },
        body: 'x',
      });
      expect(response).toMatchObject({ status: 400, code: 'InvalidArgument' });
      await upload.abort();
    },
  },
  {
    name: 'an upload for another key is NoSuchUpload',
    run: async (s3) => {
      const upload = await startUpload(s3, 'object', ['x']);
      await expectError(upload.complete({ Key: 'other' }), 404, 'NoSuchUpload');
      await upload.abort();
    },
  },
  {
    name: 'completing again after success answers the same',
    run: async (s3) => {
      const upload = await startUpload(s3, 'object', ['x']);
      const first = await upload.complete();
      expect((await upload.complete()).ETag).toBe(first.ETag);
    },
  },
];
