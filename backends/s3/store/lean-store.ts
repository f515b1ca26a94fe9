// hot path: see ARCHITECTURE.md "Data plane"

import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { Agent, type Dispatcher } from 'undici';
import { type IoVec, iovLength } from '../../../core/plugin.ts';
import type { S3Config } from '../config.ts';
import { SdkStore, tlsOptions } from './client.ts';
import type {
  DeleteFailure,
  FaultyUploads,
  ListOptions,
  ListPage,
  ObjectInfo,
  ObjectStore,
  PutOptions,
} from './object-store.ts';
import { receive } from './receive.ts';
import { fromSdk } from './sdk-error.ts';
import { Signer } from './signer.ts';
import { StoreError } from './store-error.ts';

type Answer = Dispatcher.ResponseData;

/** A key that shows where keys go in a URL. */
const PROBE = 'key';
/** Directory buckets of S3 Express have sessions in place of signatures. */
const EXPRESS = /--x-s3$/;

/**
 * Reads and writes of objects without the SDK, at a sixth of its processor time; everything that is not done all the time,
 * and the credentials, are the SDK's.
 */
export class LeanStore implements ObjectStore, FaultyUploads {
  readonly #sdk: SdkStore;
  readonly #agent: Agent;
  readonly #signer: Signer;
  /** Of the object `PROBE`. */
  readonly #place: URL;
  /** In front of keys; begins and ends with a slash. */
  readonly #root: string;
  readonly #signsBody: boolean;

  private constructor(sdk: SdkStore, agent: Agent, place: URL) {
    this.#sdk = sdk;
    this.#agent = agent;
    this.#signer = new Signer(sdk.access);
    this.#place = place;
    this.#root = place.pathname.slice(0, -PROBE.length);
    // TLS protects what is sent, and a CRC-32 tells of damage: see `leavePayloadUnsigned`.
    this.#signsBody = place.protocol === 'http:';
  }

  /** The SDK's store itself where it has to do everything, or has to say what is missing. Sends nothing. */
  static async connect(
    config: S3Config,
    baseDir: string,
  ): Promise<ObjectStore & Partial<FaultyUploads> & { readonly sdk: SdkStore }> {
    const { bucket, maxRequests, requestTimeout } = config;
    const tls = await tlsOptions(config, baseDir);
    const sdk = await SdkStore.connect(config, baseDir, tls);
    const place = EXPRESS.test(bucket) ? undefined : await sdk.locate(PROBE).catch(() => undefined);
    if (place === undefined) return sdk;
    const agent = new Agent({
      connections: maxRequests + 4,
      pipelining: 1,
      // Whoever retries watches the clock.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: { timeout: Math.min(5000, requestTimeout * 1000), noDelay: true, ...tls },
    });
    return new LeanStore(sdk, agent, place);
  }

  get sdk(): SdkStore {
    return this.#sdk;
  }

  head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    return this.#sdk.head(key, signal);
  }

  get(key: string, maxBytes: number, signal?: AbortSignal) {
    return this.#sdk.get(key, maxBytes, signal);
  }

  deleteMany(keys: readonly string[], signal?: AbortSignal): Promise<readonly DeleteFailure[]> {
    return this.#sdk.deleteMany(keys, signal);
  }

  list(prefix: string, options?: ListOptions, signal?: AbortSignal): Promise<ListPage> {
    return this.#sdk.list(prefix, options, signal);
  }

  async read(
    key: string,
    offset: number,
    into: IoVec,
    signal?: AbortSignal,
  ): Promise<ObjectInfo | undefined> {
    const length = iovLength(into);
    const answer = await this.#send('GET', key, { range: `bytes=${offset}-${offset + length - 1}` }, signal);
    const { statusCode, headers } = answer;
    // 416: the object ends before `offset`. Its true size is the caller's to judge.
    if (statusCode === 416) {
      await answer.body.dump();
      return this.#sdk.head(key, signal);
    }
    if (statusCode >= 300) return await absent(this.#problem(answer));
    const total = /\/(\d+)$/.exec(String(headers['content-range'] ?? ''));
    const size = Number(total ? total[1] : headers['content-length']);
    const received = await receive(answer.body, into, signal);
    const { etag } = headers;
    if (typeof etag !== 'string' || !Number.isFinite(size))
      throw new StoreError('server', `${key}: the store's answer lacks the ETag or the size`);
    if (received !== Math.min(length, size - offset))
      throw new StoreError('damaged', `${key}: ${received} bytes came where ${length} were asked for`);
    return { etag, size, metadata: metadataOf(headers) };
  }

  put(key: string, body: Uint8Array, options?: PutOptions, signal?: AbortSignal): Promise<string> {
    return this.putAs(key, body, body, options, signal);
  }

  async putAs(
    key: string,
    body: Uint8Array,
    sent: Uint8Array | AsyncIterable<Uint8Array>,
    options: PutOptions = {},
    signal?: AbortSignal,
  ): Promise<string> {
    const { condition, metadata = {} } = options;
    const headers: Record<string, string> = {
      'content-length': String(body.length),
      'content-type': 'application/octet-stream',
    };
    // The store verifies what arrived: by this, or by the SHA-256 that is signed.
    if (!this.#signsBody) {
      const checksum = Buffer.alloc(4);
      checksum.writeUInt32BE(crc32(body));
      headers['x-amz-checksum-crc32'] = checksum.toString('base64');
      // Ceph ignores a checksum whose algorithm is not named.
      headers['x-amz-sdk-checksum-algorithm'] = 'CRC32';
    }
    for (const [name, value] of Object.entries(metadata)) headers[`x-amz-meta-${name}`] = value;
    if (condition === 'absent') headers['if-none-match'] = '*';
    else if (condition !== undefined) headers['if-match'] = condition.etag;
    if (this.#signsBody) headers['x-amz-content-sha256'] = createHash('sha256').update(body).digest('hex');
    const answer = await this.#send('PUT', key, headers, signal, sent);
    if (answer.statusCode < 300) {
      const { etag } = answer.headers;
      await answer.body.dump();
      if (typeof etag !== 'string') throw new StoreError('server', `${key}: the store returned no ETag`);
      return etag;
    }
    const problem = await this.#problem(answer);
    // RFC 9110 lets If-Match on a missing object fail as 412; S3 answers 404 NoSuchKey.
    if (problem.status === 404 && problem.kind === 'rejected' && typeof condition === 'object')
      throw new StoreError('precondition-failed', `${key} is gone`, { cause: problem, status: 404 });
    throw problem;
  }

  [Symbol.dispose](): void {
    void this.#agent.destroy().catch(() => undefined);
    this.#sdk[Symbol.dispose]();
  }

  async #send(
    method: 'GET' | 'PUT',
    key: string,
    headers: Record<string, string>,
    signal: AbortSignal | undefined,
    body?: Uint8Array | AsyncIterable<Uint8Array>,
  ): Promise<Answer> {
    const { protocol, host, origin } = this.#place;
    const path = this.#root + key.split('/').map(escapeSegment).join('/');
    headers['x-amz-content-sha256'] ??= body === undefined ? EMPTY_SHA256 : 'UNSIGNED-PAYLOAD';
    try {
      const signed = await this.#signer.sign({ method, protocol, host, path, headers });
      return await this.#agent.request({
        origin,
        path,
        method,
        headers: signed,
        // It takes what is iterable, and its types do not say so.
        body: (body as Uint8Array | undefined) ?? null,
        signal: signal ?? null,
      });
    } catch (error) {
      throw fromSdk(error);
    }
  }

  /** What the store says instead of doing what it was asked. */
  async #problem(answer: Answer): Promise<StoreError> {
    const { statusCode, headers, body } = answer;
    const text = await body.text().catch(() => '');
    const [code, message] = ['Code', 'Message'].map(
      (tag) => new RegExp(`<${tag}>([^<]*)</${tag}>`).exec(text)?.[1] ?? '',
    ) as [string, string];
    const problem = fromSdk({
      name: code,
      message,
      $metadata: { httpStatusCode: statusCode },
    });
    if (problem.kind === 'clock-skew') this.#signer.storeTime = String(headers['date'] ?? '');
    if (problem.kind === 'bad-credentials')
      await this.#sdk.access.credentials({ forceRefresh: true }).catch(() => undefined);
    return problem;
  }
}

const EMPTY_SHA256 = createHash('sha256').digest('hex');

/** Undefined where there is no such object. */
async function absent(failing: Promise<StoreError>): Promise<undefined> {
  const problem = await failing;
  if (problem.status === 404 && problem.kind === 'rejected') return undefined;
  throw problem;
}

function metadataOf(headers: Answer['headers']): Record<string, string> {
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers))
    if (name.startsWith('x-amz-meta-') && typeof value === 'string') metadata[name.slice(11)] = value;
  return metadata;
}

/** As signatures of S3 want it: everything but unreserved characters (RFC 3986). */
const escapeSegment = (segment: string): string =>
  encodeURIComponent(segment).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
