import { ListObjectsCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { expect } from 'vitest';
import { type Check, type CheckContext, expectError } from './context.ts';

type ListInput = Partial<ConstructorParameters<typeof ListObjectsV2Command>[0]>;

async function putAll(s3: CheckContext, keys: readonly string[]): Promise<void> {
  await Promise.all(keys.map((key) => s3.put(key, 'x')));
}

async function list(s3: CheckContext, input: ListInput) {
  const page = await s3.client.send(new ListObjectsV2Command({ Bucket: s3.bucket, ...input }));
  return {
    keys: (page.Contents ?? []).map((object) => object.Key),
    prefixes: (page.CommonPrefixes ?? []).map((prefix) => prefix.Prefix),
    truncated: page.IsTruncated,
    token: page.NextContinuationToken,
    count: page.KeyCount,
  };
}

const TREE = ['a', 'b/1', 'b/2', 'b/c/3', 'd', 'e/4'];

export const listingChecks: readonly Check[] = [
  {
    name: 'an empty bucket lists nothing',
    run: async (s3) => {
      expect(await list(s3, {})).toMatchObject({ keys: [], prefixes: [], truncated: false, count: 0 });
    },
  },
  {
    name: 'pages of MaxKeys follow each other without gap or overlap',
    run: async (s3) => {
      const keys = Array.from({ length: 25 }, (_, i) => `k${String(i).padStart(2, '0')}`);
      await putAll(s3, keys);
      const seen: (string | undefined)[] = [];
      let token: string | undefined;
      let pages = 0;
      do {
        const page = await list(s3, { MaxKeys: 7, ContinuationToken: token });
        seen.push(...page.keys);
        token = page.token;
        pages++;
      } while (token !== undefined);
      expect({ seen, pages }).toEqual({ seen: keys, pages: 4 });
    },
  },
  {
    name: 'a page that ends exactly at the last key is not truncated',
    run: async (s3) => {
      await putAll(s3, ['a', 'b']);
      expect(await list(s3, { MaxKeys: 2 })).toMatchObject({ keys: ['a', 'b'], truncated: false });
    },
  },
  {
    name: 'MaxKeys 0 lists nothing',
    run: async (s3) => {
      await putAll(s3, ['a']);
      expect(await list(s3, { MaxKeys: 0 })).toMatchObject({ keys: [], truncated: false });
    },
  },
  {
    name: 'a prefix selects, without regard to slashes',
    run: async (s3) => {
      await putAll(s3, TREE);
      expect((await list(s3, { Prefix: 'b/' })).keys).toEqual(['b/1', 'b/2', 'b/c/3']);
      expect((await list(s3, { Prefix: 'b/c' })).keys).toEqual(['b/c/3']);
    },
  },
  {
    name: 'a delimiter rolls keys up into common prefixes',
    run: async (s3) => {
      await putAll(s3, TREE);
      expect(await list(s3, { Delimiter: '/' })).toMatchObject({
        keys: ['a', 'd'],
        prefixes: ['b/', 'e/'],
        count: 4,
      });
      const below = await list(s3, { Delimiter: '/', Prefix: 'b/' });
      expect(below).toMatchObject({ keys: ['b/1', 'b/2'], prefixes: ['b/c/'] });
    },
  },
  {
    name: 'a delimiter may be more than one character',
    run: async (s3) => {
      await putAll(s3, ['a--b', 'a-b', 'c--d--e']);
      expect(await list(s3, { Delimiter: '--' })).toMatchObject({ keys: ['a-b'], prefixes: ['a--', 'c--'] });
    },
  },
  {
    name: 'common prefixes are paged like keys',
    run: async (s3) => {
      await putAll(s3, TREE);
      const first = await list(s3, { Delimiter: '/', MaxKeys: 2 });
      expect(first).toMatchObject({ keys: ['a'], prefixes: ['b/'], truncated: true });
      const second = await list(s3, { Delimiter: '/', MaxKeys: 2, ContinuationToken: first.token });
      expect(second).toMatchObject({ keys: ['d'], prefixes: ['e/'], truncated: false });
    },
  },
  {
    name: 'StartAfter begins behind a key, there or not',
    run: async (s3) => {
      await putAll(s3, TREE);
      expect((await list(s3, { StartAfter: 'b/2' })).keys).toEqual(['b/c/3', 'd', 'e/4']);
      expect((await list(s3, { StartAfter: 'c' })).keys).toEqual(['d', 'e/4']);
    },
  },
  {
    name: 'keys are in the order of their UTF-8 bytes',
    run: async (s3) => {
      const keys = ['A', 'Z', '_', 'a', 'a/', 'a0', 'z', '~', 'é', '～', '😀'];
      await putAll(s3, keys);
      expect((await list(s3, {})).keys).toEqual(keys);
    },
  },
  {
    name: 'encoding-type=url percent-encodes keys and prefixes',
    run: async (s3) => {
      await putAll(s3, ['a b+ü', 'p q/x']);
      const page = await list(s3, { EncodingType: 'url', Delimiter: '/' });
      expect(page.keys.map((key) => decodeURIComponent(key!))).toEqual(['a b+ü']);
      expect(page.keys[0]).toMatch(/^a%20b%2B%C3%BC$/);
      expect(page.prefixes).toEqual(['p%20q/']);
    },
  },
  {
    name: 'entries tell size, ETag and time of change',
    run: async (s3) => {
      const { ETag } = await s3.put('object', '12345');
      const page = await s3.client.send(new ListObjectsV2Command({ Bucket: s3.bucket }));
      expect(page.Contents).toEqual([
        expect.objectContaining({ Key: 'object', Size: 5, ETag, LastModified: expect.any(Date) }),
      ]);
    },
  },
  {
    name: 'listing a missing bucket is NoSuchBucket',
    run: (s3) => expectError(list(s3, { Bucket: `${s3.bucket}-not` }), 404, 'NoSuchBucket'),
  },
  {
    name: 'more than 1000 keys come in pages of 1000',
    run: async (s3) => {
      const keys = Array.from({ length: 1050 }, (_, i) => `k${String(i).padStart(4, '0')}`);
      for (let i = 0; i < keys.length; i += 50) await putAll(s3, keys.slice(i, i + 50));
      expect((await list(s3, {})).keys).toHaveLength(1000);
      expect(await s3.keys()).toEqual(keys);
    },
  },
  {
    name: 'the first version of ListObjects pages by marker',
    run: async (s3) => {
      await putAll(s3, TREE);
      const first = await s3.client.send(
        new ListObjectsCommand({ Bucket: s3.bucket, Delimiter: '/', MaxKeys: 2 }),
      );
      expect(first).toMatchObject({ IsTruncated: true, NextMarker: 'b/' });
      const second = await s3.client.send(
        new ListObjectsCommand({ Bucket: s3.bucket, Delimiter: '/', Marker: first.NextMarker }),
      );
      expect(second.Contents?.map((object) => object.Key)).toEqual(['d']);
      expect(second.CommonPrefixes?.map((prefix) => prefix.Prefix)).toEqual(['e/']);
    },
  },
];
