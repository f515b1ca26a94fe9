import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { S3Server } from '../../core/s3-server/server.ts';
import { type Ceph, startCeph } from '../support/ceph.ts';
import { CONFORMANCE, runCheck } from '../support/s3-conformance/index.ts';
import { type Observation, observe } from '../support/s3-conformance/observation.ts';
import { randomRequests } from '../support/s3-conformance/random-requests.ts';
import { RawClient, type RawRequest } from '../support/s3-conformance/raw-client.ts';
import {
  type Memory,
  type ScriptedRequest,
  scriptedRequests,
} from '../support/s3-conformance/scripted-requests.ts';
import { tempFolder } from '../support/temp-folder.ts';

/** Checks that Ceph does not pass, and why; each must keep failing, or leave this table. */
const CEPH_DIFFERS: Readonly<Record<string, string>> = {
  'a key of more than 1024 bytes is refused': 'its error code is InvalidObjectName',
  'parts out of order are InvalidPartOrder': 'it sorts them',
  'completing an aborted upload is NoSuchUpload': 'it answers 500',
  'an upload for another key is NoSuchUpload': 'it answers 500',
  'a part number out of range is InvalidArgument': 'it takes any number',
  'a checksum that is not base64 of the right length is InvalidRequest': 'its error code is BadDigest',
  'a wrong checksum is BadDigest without x-amz-sdk-checksum-algorithm too':
    'it ignores a checksum whose algorithm is not named in a header as well',
  'a multipart object has the composite checksum of its parts': 'its CRCs are those of the whole object',
  'a PUT without a length is MissingContentLength': 'it takes a body without knowing its length',
};

/** Checks whose outcome on Ceph depends on timing, and why. */
const CEPH_MAY_DIFFER: Readonly<Record<string, string>> = {
  'of racing DELETE If-Match and PUT If-Match exactly one wins':
    'a DELETE may succeed along with the PUT that it races with',
};

interface KnownDifference {
  readonly why: string;
  readonly applies: (request: RawRequest, ours: Observation, theirs: Observation) => boolean;
}

/** Requests that the two answer differently, and why ours is as it is. All of them occur in the scripted requests. */
const KNOWN_DIFFERENCES: readonly KnownDifference[] = [
  {
    why: 'Ceph succeeds in deleting a missing key although If-Match names an ETag; S3 says 412',
    applies: ({ method, headers }, ours, theirs) =>
      method === 'DELETE' &&
      headers?.['if-match'] !== undefined &&
      ours.status === 412 &&
      theirs.status === 204,
  },
  {
    why: 'RFC 9110: a range that ends before it starts, or is of another unit, is ignored',
    applies: ({ headers }, ours) =>
      /^(lines|bytes=[94]-[32]$)/.test(headers?.['range'] ?? '') && ours.status === 200,
  },
  {
    why: 'RFC 9110: the last 0 bytes cannot be satisfied; Ceph sends all',
    applies: ({ headers }, ours) => headers?.['range'] === 'bytes=-0' && ours.status === 416,
  },
  {
    why: 'Ceph refuses a range that ends before it starts even when a condition already failed',
    applies: ({ headers }, ours, theirs) =>
      headers?.['range'] !== undefined && [304, 412].includes(ours.status) && theirs.status === 416,
  },
  {
    why: 'of several ranges Ceph sends the first; S3 sends the whole object',
    applies: ({ headers }, ours) => (headers?.['range'] ?? '').includes(',') && ours.status === 200,
  },
  {
    why: 'with encoding-type=url Ceph encodes the slashes of keys, and neither Prefix nor StartAfter',
    applies: ({ query }, ours, theirs) =>
      query?.['encoding-type'] === 'url' && isDeepStrictEqual(decodedListing(ours), decodedListing(theirs)),
  },
  {
    why: 'Ceph names its zone group as the location; S3 names us-east-1 by an empty element',
    applies: ({ query }, ours) => query?.['location'] === '' && ours.status === 200 && ours.body === '',
  },
  {
    why: 'Ceph leaves empty markers out of lists, and tells the next one although there is no next page',
    applies: (_, ours, theirs) =>
      theirs.status === 200 && isDeepStrictEqual(withoutMarkers(ours.body), withoutMarkers(theirs.body)),
  },
  {
    why: 'an upload that has ended is NoSuchUpload; Ceph says NoSuchKey when asked for its parts',
    applies: (_, ours, theirs) => ours.code === 'NoSuchUpload' && theirs.code === 'NoSuchKey',
  },
  {
    why: 'Ceph reads a negative max-keys as 0, and ignores an unknown encoding-type',
    applies: ({ query }, ours) =>
      /^-|^rot13$/.test(query?.['max-keys'] ?? query?.['encoding-type'] ?? '') &&
      ours.code === 'InvalidArgument',
  },
  {
    why: 'Ceph refuses malformed documents without an error document',
    applies: (_, ours, theirs) =>
      ours.code === 'MalformedXML' && theirs.status === 400 && theirs.code === undefined,
  },
  {
    why: 'S3 requires a digest of a DeleteObjects document; Ceph does not',
    applies: ({ query, headers }, ours) =>
      query?.['delete'] === '' && !headers?.['content-md5'] && ours.code === 'InvalidRequest',
  },
];

function decodedListing({ status, body }: Observation): unknown {
  const { Prefix: _, StartAfter: __, ...rest } = (body ?? {}) as Record<string, unknown>;
  return { status, body: JSON.parse(decodeURIComponent(JSON.stringify(rest))) };
}

function withoutMarkers(body: unknown): unknown {
  if (typeof body !== 'object' || body === null) return body;
  const own = /^(Marker|NextMarker|KeyMarker|UploadIdMarker|NextKeyMarker|Prefix)$/;
  return Object.fromEntries(Object.entries(body).filter(([name]) => !own.test(name)));
}

const credentials = { accessKeyId: 'test', secretAccessKey: 'test-secret-key' };
const folder = tempFolder();
let ceph: Ceph;
let server: S3Server;

beforeAll(async () => {
  ceph = await startCeph();
  server = await S3Server.start({ dataDir: folder.path, credentials });
});

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await ceph?.[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

describe('conformance of Ceph', () => {
  for (const [area, checks] of Object.entries(CONFORMANCE)) {
    describe(area, () => {
      for (const check of checks.filter(({ name }) => !(name in CEPH_MAY_DIFFER))) {
        const why = CEPH_DIFFERS[check.name];
        if (why === undefined) it(check.name, () => runCheck(check, ceph));
        else {
          it(`differs: ${check.name}: ${why}`, async () => {
            await expect(runCheck(check, ceph)).rejects.toThrow();
          });
        }
      }
    });
  }
});

describe('request by request', () => {
  /** Sends the same to both, and compares what a client can tell of the answers. */
  class Comparison implements Disposable {
    /** The known differences that showed. */
    readonly met = new Set<string>();
    readonly #ours = new RawClient({ endpoint: server.endpoint, region: 'us-east-1', ...credentials });
    readonly #theirs = new RawClient(ceph);
    readonly #ourMemory: Memory = new Map();
    readonly #theirMemory: Memory = new Map();

    async send(
      what: string,
      request: (memory: Memory) => RawRequest,
      remember: ScriptedRequest['remember'] = () => {},
    ) {
      const asked = request(this.#ourMemory);
      const [ours, theirs] = await Promise.all([
        this.#ours.send(asked),
        this.#theirs.send(request(this.#theirMemory)),
      ]);
      remember(ours, this.#ourMemory);
      remember(theirs, this.#theirMemory);
      const [our, their] = [observe(ours), observe(theirs)];
      if (isDeepStrictEqual(our, their)) return;
      const known = KNOWN_DIFFERENCES.find(({ applies }) => applies(asked, our, their));
      if (known) {
        this.met.add(known.why);
        return;
      }
      const { method, path, query, headers } = asked;
      expect({ what, method, path, query, headers, answer: our }).toEqual({
        what,
        method,
        path,
        query,
        headers,
        answer: their,
      });
    }

    [Symbol.dispose](): void {
      this.#ours[Symbol.dispose]();
      this.#theirs[Symbol.dispose]();
    }
  }

  it('answers every operation as Ceph does', async () => {
    using both = new Comparison();
    for (const { what, request, remember } of scriptedRequests('scripted'))
      await both.send(what, request, remember);
    expect([...both.met].sort()).toEqual(KNOWN_DIFFERENCES.map(({ why }) => why).sort());
  });

  const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

  it(`answers 500 random requests as Ceph does (repeat with SEED=${SEED})`, async () => {
    using both = new Comparison();
    const bucket = `random-${SEED}`;
    await both.send('create', () => ({ method: 'PUT', path: `/${bucket}` }));
    for (const [i, request] of randomRequests(bucket, SEED, 500).entries())
      await both.send(`request ${i}`, () => request);
  });
});
