import { randomBytes } from 'node:crypto';
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type PutObjectCommandInput,
  type PutObjectCommandOutput,
  S3Client,
} from '@aws-sdk/client-s3';
import { expect } from 'vitest';
import { RawClient, type S3Target } from './raw-client.ts';

/** One named fact about an S3 server; `run` throws when it does not hold. */
export interface Check {
  readonly name: string;
  readonly run: (s3: CheckContext) => Promise<void>;
}

/** A bucket of its own on the server under test, and two clients: the SDK, and raw HTTP. */
export class CheckContext implements AsyncDisposable {
  readonly bucket: string;
  readonly client: S3Client;
  readonly raw: RawClient;

  constructor(target: S3Target, bucket = `check-${randomBytes(6).toString('hex')}`) {
    this.bucket = bucket;
    this.client = sdkClient(target);
    this.raw = new RawClient(target);
  }

  static async create(target: S3Target): Promise<CheckContext> {
    const context = new CheckContext(target);
    await context.client.send(new CreateBucketCommand({ Bucket: context.bucket }));
    return context;
  }

  put(key: string, body: PutObjectCommandInput['Body'] = key, more: Partial<PutObjectCommandInput> = {}) {
    return this.client.send(
      new PutObjectCommand({ Bucket: this.bucket, Key: key, Body: body, ...more }),
    ) as Promise<PutObjectCommandOutput>;
  }

  async bytes(key: string, range?: string): Promise<Buffer> {
    const got = await this.client.send(new GetObjectCommand({ Bucket: this.bucket, Key: key, Range: range }));
    return Buffer.from(await got.Body!.transformToByteArray());
  }

  async text(key: string, range?: string): Promise<string> {
    return (await this.bytes(key, range)).toString('utf8');
  }

  /** Every key under `prefix`, in the order the server lists them. */
  async keys(prefix = ''): Promise<string[]> {
    const keys: string[] = [];
    let token: string | undefined;
    do {
      const page = await this.client.send(
        new ListObjectsV2Command({ Bucket: this.bucket, Prefix: prefix, ContinuationToken: token }),
      );
      keys.push(...(page.Contents ?? []).map((object) => object.Key!));
      token = page.NextContinuationToken;
    } while (token !== undefined);
    return keys;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      const keys = await this.keys();
      for (let i = 0; i < keys.length; i += 1000) {
        const Objects = keys.slice(i, i + 1000).map((Key) => ({ Key }));
        await this.client.send(new DeleteObjectsCommand({ Bucket: this.bucket, Delete: { Objects } }));
      }
      await this.client.send(new DeleteBucketCommand({ Bucket: this.bucket }));
    } catch (error) {
      if ((error as Error).name !== 'NoSuchBucket') throw error;
    } finally {
      this.close();
    }
  }

  /** Closes the clients and leaves the bucket as it is. */
  close(): void {
    this.client.destroy();
    this.raw[Symbol.dispose]();
  }
}

/** Without retries: a check wants to see the first answer. */
export function sdkClient(target: S3Target): S3Client {
  const { endpoint, region, accessKeyId, secretAccessKey } = target;
  return new S3Client({
    endpoint,
    region,
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId, secretAccessKey },
  });
}

interface SdkError {
  readonly name: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/** Expects an SDK call to fail with this status and, if given, this error code. */
export async function expectError(call: Promise<unknown>, status: number, code?: string): Promise<void> {
  const outcome = await call.then(
    () => 'success',
    (error: SdkError) => ({ status: error.$metadata?.httpStatusCode, code: error.name }),
  );
  expect(outcome).toEqual({ status, code: code ?? expect.any(String) });
}

/** HTTP status of each call, sorted: successes count as 200. */
export async function statuses(calls: readonly Promise<unknown>[]): Promise<number[]> {
  const settled = await Promise.allSettled(calls);
  return settled
    .map((outcome) =>
      outcome.status === 'fulfilled' ? 200 : ((outcome.reason as SdkError).$metadata?.httpStatusCode ?? 0),
    )
    .sort((a, b) => a - b);
}

/** One success; the others 412, or 409 where the server only saw that there was a conflict, as S3 may say. */
export function expectOneWinner(outcomes: readonly number[]): void {
  expect(outcomes.filter((status) => status === 200)).toHaveLength(1);
  expect(outcomes.filter((status) => ![200, 409, 412].includes(status))).toEqual([]);
}

/** `length` bytes that differ with the seed. */
export function pattern(length: number, seed = 1): Buffer {
  const out = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) out[i] = (i * 31 + (i >>> 8) * 17 + seed * 101) & 0xff;
  return out;
}
