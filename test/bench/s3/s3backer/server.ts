import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { CREDENTIALS, type Traffic } from './traffic.ts';

export const BUCKET = 'disks';

/** The embedded S3 server in a process of its own, some milliseconds away. It counts. */
export class CountingServer implements AsyncDisposable {
  readonly endpoint: string;
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(endpoint: string, child: ChildProcess, folder: string) {
    this.endpoint = endpoint;
    this.#child = child;
    this.#folder = folder;
  }

  /** @param latency of each request. Milliseconds. */
  static async start(latency: number): Promise<CountingServer> {
    const folder = await mkdtemp(join(tmpdir(), 'blockgate-bench-s3-'));
    const main = new URL('server-main.ts', import.meta.url);
    const child = fork(main, [folder, String(latency)], { execArgv: [] });
    const ended = once(child, 'exit').then(() => Promise.reject(new Error('the S3 server ended')));
    ended.catch(() => undefined);
    const [endpoint] = (await Promise.race([once(child, 'message'), ended])) as [string];
    const server = new CountingServer(endpoint, child, folder);
    const client = new S3Client({
      endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: CREDENTIALS,
    });
    await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
    client.destroy();
    return server;
  }

  /** Since it was asked last. */
  async traffic(): Promise<Traffic> {
    this.#child.send('traffic');
    const [traffic] = (await once(this.#child, 'message')) as [Traffic];
    return traffic;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
    await rm(this.#folder, { recursive: true });
  }
}
