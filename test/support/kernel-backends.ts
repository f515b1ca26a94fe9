import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type _Object,
  CreateBucketCommand,
  DeleteObjectCommand,
  ListObjectsV2Command,
  S3Client,
} from '@aws-sdk/client-s3';
import { S3Server } from '../../core/s3-server/server.ts';
import { startCeph } from './ceph.ts';
import { freePort } from './free-port.ts';

/** An S3 service on the host's loopback, as tests on the host and in the guest see it. */
export interface S3Service extends AsyncDisposable {
  readonly name: string;
  /** Keys of an `s3` backend that reach it from the guest: endpoint, region, bucket, credentials. */
  readonly backend: Readonly<Record<string, unknown>>;
  /** The same from this machine. */
  readonly hostBackend: Readonly<Record<string, unknown>>;
  /** Environment that the backend's credentials refer to. */
  readonly env: Readonly<Record<string, string>>;
  readonly client: S3Client;
  readonly bucket: string;
  /** Cuts it off, as a crash or a maintenance window would. */
  down(): Promise<void>;
  up(): Promise<void>;
  list(prefix: string): Promise<_Object[]>;
  delete(key: string): Promise<void>;
}

/** The guest reaches the host's loopback under this address. */
const HOST_IN_GUEST = '10.0.2.2';

interface Running {
  readonly port: number;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  down(): Promise<void>;
  up(): Promise<void>;
  dispose(): Promise<void>;
}

async function embedded(): Promise<Running> {
  const dataDir = await mkdtemp(join(tmpdir(), 'blockgate-s3-'));
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test-secret-key' };
  const port = await freePort();
  let server: S3Server | undefined = await S3Server.start({ dataDir, credentials, port });
  const down = async () => {
    await server?.[Symbol.asyncDispose]();
    server = undefined;
  };
  return {
    port,
    ...credentials,
    down,
    up: async () => {
      server = await S3Server.start({ dataDir, credentials, port });
    },
    dispose: async () => {
      await down();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function ceph(): Promise<Running> {
  const cluster = await startCeph();
  return {
    port: cluster.port,
    accessKeyId: cluster.accessKeyId,
    secretAccessKey: cluster.secretAccessKey,
    down: () => cluster.kill9(),
    up: () => cluster.restart(),
    dispose: async () => await cluster[Symbol.asyncDispose](),
  };
}

const STARTERS = { 'embedded S3 server': embedded, 'Ceph RGW': ceph };
export type S3ServiceName = keyof typeof STARTERS;
export const S3_SERVICES = Object.keys(STARTERS) as S3ServiceName[];

export async function startS3Service(name: S3ServiceName): Promise<S3Service> {
  const running = await STARTERS[name]();
  const { port, accessKeyId, secretAccessKey } = running;
  const bucket = 'disks';
  const region = 'us-east-1';
  const client = new S3Client({
    endpoint: `http://127.0.0.1:${port}`,
    region,
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
  });
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  const reachedAt = (host: string) => ({
    type: 's3',
    endpoint: `http://${host}:${port}`,
    region,
    bucket,
    credentials: { accessKeyId, secretAccessKey: { env: 'TEST_S3_SECRET' } },
  });
  return {
    name,
    bucket,
    client,
    backend: reachedAt(HOST_IN_GUEST),
    hostBackend: reachedAt('127.0.0.1'),
    env: { TEST_S3_SECRET: secretAccessKey },
    down: running.down,
    up: running.up,
    list: async (prefix) => {
      const found: _Object[] = [];
      for (let token: string | undefined; ; ) {
        const page = await client.send(
          new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, ContinuationToken: token }),
        );
        found.push(...(page.Contents ?? []));
        token = page.NextContinuationToken;
        if (token === undefined) return found;
      }
    },
    delete: async (key) => {
      await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }));
    },
    async [Symbol.asyncDispose]() {
      client.destroy();
      await running.dispose();
    },
  };
}
