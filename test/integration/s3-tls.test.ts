import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type S3Config, s3Config } from '../../backends/s3/config.ts';
import s3 from '../../backends/s3/index.ts';
import { S3Server } from '../../core/s3-server/server.ts';
import { context, MIB, pattern, readAll, sameBytes } from '../backends/s3/harness.ts';

const TLS = join(import.meta.dirname, '../fixtures/tls');
const CA = join(TLS, 'loopback-cert.pem');

describe('the s3 backend over TLS', () => {
  let dataDir: string;
  let server: S3Server;

  beforeAll(async () => {
    vi.stubEnv('TEST_S3_SECRET', 'test-secret-key');
    dataDir = await mkdtemp(join(tmpdir(), 'blockgate-s3-tls-'));
    const credentials = { accessKeyId: 'test', secretAccessKey: 'test-secret-key' };
    const tls = { key: await readFile(join(TLS, 'loopback-key.pem')), cert: await readFile(CA) };
    server = await S3Server.start({ dataDir, credentials, tls, fsync: false });
    const client = new S3Client({
      endpoint: server.endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials,
      requestHandler: { httpsAgent: { ca: tls.cert } },
    });
    await client.send(new CreateBucketCommand({ Bucket: 'disks' }));
    client.destroy();
  });

  afterAll(async () => {
    vi.unstubAllEnvs();
    await server[Symbol.asyncDispose]();
    await rm(dataDir, { recursive: true, force: true });
  });

  function config(prefix: string, tls?: Record<string, unknown>): S3Config {
    return s3Config.parse({
      endpoint: server.endpoint,
      bucket: 'disks',
      prefix,
      size: MIB,
      credentials: { accessKeyId: 'test', secretAccessKey: { env: 'TEST_S3_SECRET' } },
      ...(tls === undefined ? {} : { tls }),
    });
  }

  it('refuses a certificate that it does not know', async () => {
    await expect(s3.volumes!.create(config('unknown'), context())).rejects.toMatchObject({
      code: 's3.untrusted-certificate',
      fix: 'Name the file of its certificate authority in "tls.ca".',
    });
  });

  it('refuses a file of certificates that cannot be read', async () => {
    const missing = config('missing', { ca: join(TLS, 'missing.pem') });
    await expect(s3.volumes!.create(missing, context())).rejects.toMatchObject({ code: 's3.ca-unreadable' });
  });

  it.each([
    ['the certificate authority that is configured', { ca: CA }],
    ['anybody, when told to', { insecure: true }],
  ])('trusts %s', async (_whom, tls) => {
    const settings = config('insecure' in tls ? 'insecure' : 'ca', tls);
    await s3.volumes!.create(settings, context());
    await using device = await s3.open(settings, context());
    await device.write!(0, [pattern(MIB, 5)], 0);
    await device.flush!(0);
    await using reader = await s3.open(settings, context({ readOnly: true }));
    expect(sameBytes(await readAll(reader, 0, MIB), pattern(MIB, 5))).toBe(true);
  });

  it('tries what becomes of damage where a checksum is sent in place of a signed body', async () => {
    const findings = await s3.volumes!.qualify!(config('qualify', { ca: CA }), context());
    expect(findings.filter(({ severity }) => severity !== 'ok')).toEqual([]);
    expect(findings).toContainEqual({
      severity: 'ok',
      summary: 'an upload whose checksum is wrong is refused',
    });
  });
});
