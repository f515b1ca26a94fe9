import { afterAll, beforeAll, describe, it } from 'vitest';
import { S3Server } from '../../../core/s3-server/server.ts';
import { CONFORMANCE, runCheck } from '../../support/s3-conformance/index.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const credentials = { accessKeyId: 'test', secretAccessKey: 'test-secret-key' };
const folder = tempFolder();
let server: S3Server;

beforeAll(async () => {
  server = await S3Server.start({ dataDir: folder.path, credentials, fsync: false });
});

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

describe('the embedded S3 server', () => {
  for (const [area, checks] of Object.entries(CONFORMANCE)) {
    describe(area, () => {
      for (const check of checks) {
        it(check.name, () =>
          runCheck(check, { endpoint: server.endpoint, region: 'us-east-1', ...credentials }),
        );
      }
    });
  }
});
