import { ListObjectsV2Command } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { s3Config } from '../../backends/s3/config.ts';
import s3 from '../../backends/s3/index.ts';
import { context } from '../backends/s3/harness.ts';
import { S3_SERVERS, startS3, type TestS3 } from '../support/s3.ts';

describe.each(S3_SERVERS)('the qualification of %s', (name) => {
  let server: TestS3;

  beforeAll(async () => {
    server = await startS3(name);
  });

  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });

  it('finds nothing wrong, and leaves nothing there', async () => {
    const { problems, summaries } = await qualify(server);
    expect(problems).toEqual([]);
    expect(summaries).toMatch(/ ([1-9]|1[0-2]) answers were lost/);
  });
});

/** What is wrong, and whether creations could be cut short. */
async function qualify(server: TestS3) {
  const settings = s3Config.parse({ ...server.backend, prefix: 'disks/a' });
  const findings = await s3.volumes!.qualify!(settings, context());
  const { KeyCount } = await server.client.send(new ListObjectsV2Command({ Bucket: server.bucket }));
  expect(KeyCount).toBe(0);
  return {
    problems: findings.filter(({ severity }) => severity !== 'ok'),
    summaries: findings.map(({ summary }) => summary).join('\n'),
  };
}

it('the qualification of the embedded server finds nothing wrong while answers get lost', async () => {
  await using server = await startS3('the embedded server');
  server.setFaults!({
    seed: 1,
    operations: ['PutObject'],
    stallRate: 1,
    stallMs: 20,
    lostResponseRate: 0.1,
  });
  const { problems, summaries } = await qualify(server);
  expect(problems).toEqual([]);
  // How many of them were there already when they were made again, time decides.
  expect(summaries).toMatch(/12 answers were lost, and ([1-9]|1[0-2]) objects were there/);
});
