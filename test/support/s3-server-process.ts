import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { S3Target } from './s3-conformance/raw-client.ts';

/** The embedded S3 server in a process of its own, to be killed. */
export interface S3ServerProcess extends S3Target, AsyncDisposable {
  /** Ends it as a crash would. */
  kill9(): Promise<void>;
}

const SCRIPT = `
  import { S3Server } from ${JSON.stringify(new URL('../../core/s3-server/server.ts', import.meta.url).href)};
  const [dataDir, accessKeyId, secretAccessKey] = process.argv.slice(1);
  const server = await S3Server.start({ dataDir, credentials: { accessKeyId, secretAccessKey } });
  process.stdout.write(server.endpoint + '\\n');
`;

export async function startS3ServerProcess(dataDir: string): Promise<S3ServerProcess> {
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test-secret-key' };
  const args = ['--input-type=module-typescript', '--eval', SCRIPT, dataDir, ...Object.values(credentials)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const kill9 = () => kill(child);
  try {
    const lines = createInterface({ input: child.stdout });
    const ended = once(child, 'exit').then(() => {
      throw new Error('the S3 server ended before it was ready');
    });
    const [endpoint] = (await Promise.race([once(lines, 'line'), ended])) as [string];
    ended.catch(() => {});
    return { endpoint, region: 'us-east-1', ...credentials, kill9, [Symbol.asyncDispose]: kill9 };
  } catch (error) {
    await kill9();
    throw error;
  }
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}
