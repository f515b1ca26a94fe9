import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Readable } from 'node:stream';
import type { GetObjectCommandOutput, S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import { GatewayError, type IoVec, iovLength, resolveSecret } from '../../../core/plugin.ts';
import type { S3Config } from '../config.ts';
import type {
  DeleteFailure,
  ListOptions,
  ListPage,
  ObjectInfo,
  ObjectStore,
  PutOptions,
} from './object-store.ts';
import { receive } from './receive.ts';
import { fromSdk } from './sdk-error.ts';
import type { Access } from './signer.ts';
import { isStoreError, StoreError } from './store-error.ts';

type Sdk = typeof import('@aws-sdk/client-s3');

interface LocatedRequest {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number;
  readonly path: string;
}

/** For `tls.connect`. */
export interface TlsOptions {
  readonly ca?: string;
  readonly rejectUnauthorized?: false;
}

/** `ObjectStore` on the AWS SDK. The only file that knows the SDK's commands. */
export class SdkStore implements ObjectStore {
  readonly #sdk: Sdk;
  readonly #client: S3Client;
  readonly #bucket: string;

  private constructor(sdk: Sdk, client: S3Client, bucket: string) {
    this.#sdk = sdk;
    this.#client = client;
    this.#bucket = bucket;
  }

  /** Loads the SDK (about 200 ms, hence not before it is needed) and reads secrets; sends nothing. */
  static async connect(config: S3Config, baseDir: string, tls: TlsOptions): Promise<SdkStore> {
    const options = await clientOptions(config, baseDir, tls);
    const sdk = await import('@aws-sdk/client-s3');
    const client = new sdk.S3Client(options);
    if (config.endpoint === undefined || config.endpoint.startsWith('https:')) leavePayloadUnsigned(client);
    return new SdkStore(sdk, client, config.bucket);
  }

  get sdk(): this {
    return this;
  }

  get access(): Access {
    const { credentials, region } = this.#client.config;
    return { credentials, region: async () => region() };
  }

  /**
   * The URL of an object: what follows from endpoint, region, path style and the AWS configuration is for the SDK to know.
   * Sends nothing for it. Rejects when something is missing.
   */
  async locate(key: string): Promise<URL> {
    const command = new this.#sdk.GetObjectCommand({ Bucket: this.#bucket, Key: key });
    let url: URL | undefined;
    command.middlewareStack.add(
      () => async (args) => {
        const { protocol, hostname, port, path } = args.request as LocatedRequest;
        url = new URL(`${protocol}//${hostname}${port === undefined ? '' : `:${port}`}${path}`);
        return { output: { $metadata: {} }, response: undefined };
      },
      { step: 'build', name: 'locate' },
    );
    await this.#client.send(command);
    return url!;
  }

  async head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    const command = new this.#sdk.HeadObjectCommand({ Bucket: this.#bucket, Key: key });
    const answer = await found(this.#client.send(command, abortWith(signal)));
    return answer && objectInfo(key, answer, answer.ContentLength);
  }

  async read(
    key: string,
    offset: number,
    into: IoVec,
    signal?: AbortSignal,
  ): Promise<ObjectInfo | undefined> {
    const length = iovLength(into);
    const command = new this.#sdk.GetObjectCommand({
      Bucket: this.#bucket,
      Key: key,
      Range: `bytes=${offset}-${offset + length - 1}`,
    });
    let answer: GetObjectCommandOutput | undefined;
    try {
      answer = await found(this.#client.send(command, abortWith(signal)));
    } catch (error) {
      // 416: the object ends before `offset`. Its true size is the caller's to judge.
      if (isStoreError(error) && error.status === 416) return this.head(key, signal);
      throw error;
    }
    if (!answer) return undefined;
    const total = /\/(\d+)$/.exec(answer.ContentRange ?? '');
    const size = total ? Number(total[1]) : answer.ContentLength;
    const received = await receive(answer.Body as Readable, into, signal);
    const info = objectInfo(key, answer, size);
    if (received !== Math.min(length, info.size - offset)) {
      throw new StoreError('damaged', `${key}: ${received} bytes came where ${length} were asked for`);
    }
    return info;
  }

  async get(
    key: string,
    maxBytes: number,
    signal?: AbortSignal,
  ): Promise<{ readonly info: ObjectInfo; readonly body: Uint8Array } | undefined> {
    const command = new this.#sdk.GetObjectCommand({ Bucket: this.#bucket, Key: key });
    const answer = await found(this.#client.send(command, abortWith(signal)));
    if (!answer) return undefined;
    const stream = answer.Body as Readable;
    const size = answer.ContentLength ?? 0;
    if (size > maxBytes) {
      stream.destroy();
      throw new StoreError('rejected', `${key} has ${size} bytes; at most ${maxBytes} were expected`);
    }
    const body = new Uint8Array(size);
    const received = await receive(stream, [body], signal);
    if (received !== size) throw new StoreError('damaged', `${key}: ${received} of ${size} bytes came`);
    return { info: objectInfo(key, answer, size), body };
  }

  async put(key: string, body: Uint8Array, options: PutOptions = {}, signal?: AbortSignal): Promise<string> {
    const { condition, metadata } = options;
    const command = new this.#sdk.PutObjectCommand({
      Bucket: this.#bucket,
      Key: key,
      Body: body,
      ContentLength: body.length,
      // The store verifies what arrived. The algorithm is named too: Ceph ignores a bare checksum header.
      ChecksumAlgorithm: 'CRC32',
      ...(metadata === undefined ? {} : { Metadata: { ...metadata } }),
      ...(condition === 'absent' ? { IfNoneMatch: '*' } : {}),
      ...(typeof condition === 'object' ? { IfMatch: condition.etag } : {}),
    });
    try {
      const { ETag } = await this.#client.send(command, abortWith(signal));
      if (ETag === undefined) throw new StoreError('server', `${key}: the store returned no ETag`);
      return ETag;
    } catch (error) {
      const problem = fromSdk(error);
      // RFC 9110 lets If-Match on a missing object fail as 412; S3 answers 404 NoSuchKey.
      if (problem.status === 404 && problem.kind === 'rejected' && typeof condition === 'object') {
        throw new StoreError('precondition-failed', `${key} is gone`, { cause: error, status: 404 });
      }
      throw problem;
    }
  }

  async deleteMany(keys: readonly string[], signal?: AbortSignal): Promise<readonly DeleteFailure[]> {
    const command = new this.#sdk.DeleteObjectsCommand({
      Bucket: this.#bucket,
      Delete: { Objects: keys.map((Key) => ({ Key })), Quiet: true },
    });
    try {
      const { Errors = [] } = await this.#client.send(command, abortWith(signal));
      return Errors.map(({ Key, Code, Message }) => ({
        key: Key ?? '',
        reason: `${Code ?? 'error'}: ${Message ?? ''}`,
      }));
    } catch (error) {
      const problem = fromSdk(error);
      // Some stores lack DeleteObjects, or want a Content-MD5 for it that current SDKs do not send.
      if (problem.kind !== 'rejected') throw problem;
      return this.#deleteEach(keys, signal);
    }
  }

  async list(prefix: string, options: ListOptions = {}, signal?: AbortSignal): Promise<ListPage> {
    const command = new this.#sdk.ListObjectsV2Command({
      Bucket: this.#bucket,
      Prefix: prefix,
      Delimiter: options.delimiter,
      ContinuationToken: options.continuation,
    });
    try {
      const answer = await this.#client.send(command, abortWith(signal));
      return {
        objects: (answer.Contents ?? []).map(({ Key = '', Size = 0 }) => ({ key: Key, size: Size })),
        prefixes: (answer.CommonPrefixes ?? []).map(({ Prefix = '' }) => Prefix),
        next: answer.IsTruncated ? answer.NextContinuationToken : undefined,
      };
    } catch (error) {
      throw fromSdk(error);
    }
  }

  /** Whether the bucket keeps old versions of objects: `Enabled`, `Suspended` or undefined. For `check`. */
  async versioning(signal?: AbortSignal): Promise<string | undefined> {
    const command = new this.#sdk.GetBucketVersioningCommand({ Bucket: this.#bucket });
    try {
      return (await this.#client.send(command, abortWith(signal))).Status;
    } catch (error) {
      throw fromSdk(error);
    }
  }

  [Symbol.dispose](): void {
    this.#client.destroy();
  }

  async #deleteEach(keys: readonly string[], signal?: AbortSignal): Promise<readonly DeleteFailure[]> {
    const failures: DeleteFailure[] = [];
    for (const key of keys) {
      const command = new this.#sdk.DeleteObjectCommand({ Bucket: this.#bucket, Key: key });
      try {
        await this.#client.send(command, abortWith(signal));
      } catch (error) {
        const problem = fromSdk(error);
        if (problem.kind !== 'rejected') throw problem;
        if (problem.status !== 404) failures.push({ key, reason: problem.message });
      }
    }
    return failures;
  }
}

/**
 * TLS protects what is sent and a CRC-32 tells of damage, so the SHA-256 of the body is left out of the signature: it
 * would be a third of the CPU time of an upload. Without TLS it stays in.
 */
function leavePayloadUnsigned(client: S3Client): void {
  client.middlewareStack.add(
    (next, context) => (args) => {
      const { headers } = args.request as { readonly headers: Record<string, string> };
      if (context.commandName === 'PutObjectCommand') headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD';
      return next(args);
    },
    { step: 'build', name: 'leavePayloadUnsigned' },
  );
}

function abortWith(signal: AbortSignal | undefined): { abortSignal?: AbortSignal } {
  return signal === undefined ? {} : { abortSignal: signal };
}

/** The answer, or undefined where the store says that there is no such object. */
async function found<T>(request: Promise<T>): Promise<T | undefined> {
  try {
    return await request;
  } catch (error) {
    const problem = fromSdk(error);
    // HEAD has no body to tell a missing bucket from a missing key; a missing bucket shows on the next GET or PUT.
    if (problem.status === 404 && problem.kind === 'rejected') return undefined;
    throw problem;
  }
}

function objectInfo(
  key: string,
  answer: { readonly ETag?: string | undefined; readonly Metadata?: Record<string, string> | undefined },
  size: number | undefined,
): ObjectInfo {
  if (answer.ETag === undefined || size === undefined) {
    throw new StoreError('server', `${key}: the store's answer lacks the ETag or the size`);
  }
  return { etag: answer.ETag, size, metadata: answer.Metadata ?? {} };
}

async function clientOptions(config: S3Config, baseDir: string, tls: TlsOptions): Promise<S3ClientConfig> {
  const { endpoint, region, profile, credentials, maxRequests } = config;
  const agent = { keepAlive: true, noDelay: true, maxSockets: maxRequests + 4 };
  return {
    // A store with an endpoint of its own rarely cares; AWS without a region is an error that the SDK explains.
    ...(region === undefined ? (endpoint === undefined ? {} : { region: 'us-east-1' }) : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(profile === undefined ? {} : { profile }),
    ...(credentials === undefined ? {} : { credentials: await fixedCredentials(credentials, baseDir) }),
    forcePathStyle: config.pathStyle ?? endpoint !== undefined,
    // Retries are ours: the SDK does not know which of them may be refused by our own earlier attempt.
    maxAttempts: 1,
    // Each chunk carries its own checksums; the SDK's second look at a download costs a third of its CPU time.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: Math.min(5000, config.requestTimeout * 1000),
      httpAgent: agent,
      httpsAgent: { ...agent, ...tls },
    },
  };
}

/** What "tls" says. Throws `s3.ca-unreadable`. */
export async function tlsOptions({ tls }: S3Config, baseDir: string): Promise<TlsOptions> {
  return {
    ...(tls?.ca !== undefined && { ca: await readCa(resolve(baseDir, tls.ca)) }),
    ...(tls?.insecure && { rejectUnauthorized: false }),
  };
}

async function readCa(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new GatewayError('s3.ca-unreadable', `The certificate file ${path} cannot be read.`, {
      why: (cause as Error).message,
      fix: 'Correct "tls.ca", or leave it out to trust the certificate authorities that Node.js trusts.',
      cause,
    });
  }
}

async function fixedCredentials(credentials: NonNullable<S3Config['credentials']>, baseDir: string) {
  const { accessKeyId, secretAccessKey, sessionToken } = credentials;
  const reveal = async (ref: Parameters<typeof resolveSecret>[0]) =>
    (await resolveSecret(ref, baseDir)).reveal();
  return {
    accessKeyId: typeof accessKeyId === 'string' ? accessKeyId : await reveal(accessKeyId),
    secretAccessKey: await reveal(secretAccessKey),
    ...(sessionToken === undefined ? {} : { sessionToken: await reveal(sessionToken) }),
  };
}
