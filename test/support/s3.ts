import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import type { FaultPlan } from '../../core/s3-server/faults.ts';
import { S3Server } from '../../core/s3-server/server.ts';
import { startCeph } from './ceph.ts';
import { freePort } from './free-port.ts';

/** An S3 server on the loopback with one bucket, and a client to look behind the gateway's back. */
export interface TestS3 extends AsyncDisposable {
  /** Keys of an `s3` backend that reach the bucket; the secret is read from `TEST_S3_SECRET`. */
  readonly backend: Readonly<Record<string, unknown>>;
  readonly client: S3Client;
  readonly bucket: string;
  /** Ends at once, as in a crash; what was acknowledged stays. */
  stop(): Promise<void>;
  /** Starts again with the same data on the same port. */
  start(): Promise<void>;
  /** Only where faults can be injected. */
  readonly setFaults: ((plan: FaultPlan) => void) | undefined;
}

interface RunningServer extends Pick<TestS3, 'stop' | 'start' | 'setFaults'>, AsyncDisposable {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

const BUCKET = 'disks';
const REGION = 'us-east-1';

async function startEmbedded(): Promise<RunningServer> {
  const dataDir = await mkdtemp(join(tmpdir(), 'blockgate-s3-'));
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test-secret-key' };
  const server = await S3Server.start({ dataDir, credentials, port: await freePort(), fsync: false });
  return {
    endpoint: server.endpoint,
    ...credentials,
    stop: () => server.stop(),
    start: () => server.start(),
    setFaults: (plan) => server.setFaults(plan),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function startRgw(): Promise<RunningServer> {
  const ceph = await startCeph();
  const { endpoint, accessKeyId, secretAccessKey } = ceph;
  return {
    endpoint,
    accessKeyId,
    secretAccessKey,
    stop: () => ceph.kill9(),
    start: () => ceph.restart(),
    setFaults: undefined,
    [Symbol.asyncDispose]: async () => await ceph[Symbol.asyncDispose](),
  };
}

const STARTERS = { 'the embedded server': startEmbedded, 'Ceph RGW': startRgw } as const;

/** The servers that every test of the s3 backend runs against. */
export const S3_SERVERS = Object.keys(STARTERS) as readonly (keyof typeof STARTERS)[];

export async function startS3(name: (typeof S3_SERVERS)[number]): Promise<TestS3> {
  const server = await STARTERS[name]();
  const { endpoint, accessKeyId, secretAccessKey } = server;
  const credentials = { accessKeyId, secretAccessKey };
  const client = new S3Client({ endpoint, region: REGION, forcePathStyle: true, credentials });
  try {
    await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
  } catch (error) {
    client.destroy();
    await server[Symbol.asyncDispose]();
    throw error;
  }
  const before = process.env['TEST_S3_SECRET'];
  process.env['TEST_S3_SECRET'] = secretAccessKey;
  return {
    backend: {
      endpoint,
      region: REGION,
      bucket: BUCKET,
      credentials: { accessKeyId, secretAccessKey: { env: 'TEST_S3_SECRET' } },
    },
    client,
    bucket: BUCKET,
    stop: server.stop,
    start: server.start,
    setFaults: server.setFaults,
    async [Symbol.asyncDispose]() {
      if (before === undefined) delete process.env['TEST_S3_SECRET'];
      else process.env['TEST_S3_SECRET'] = before;
      client.destroy();
      await server[Symbol.asyncDispose]();
    },
  };
}
