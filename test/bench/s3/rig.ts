import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { type S3Config, s3Config } from '../../../backends/s3/config.ts';
import { openVolume } from '../../../backends/s3/open.ts';
import { withStore } from '../../../backends/s3/operation.ts';
import { LeanStore } from '../../../backends/s3/store/lean-store.ts';
import type { ObjectStore } from '../../../backends/s3/store/object-store.ts';
import { createVolume } from '../../../backends/s3/volumes.ts';
import type { BlockDevice } from '../../../core/plugin.ts';
import { context } from '../../backends/s3/harness.ts';

const BUCKET = 'bench';

/** Requests by kind. */
export type Requests = Record<'put' | 'read' | 'get' | 'head' | 'list' | 'deleteMany', number> & {
  sent: number;
};

/** A store some milliseconds away, in a process of its own, and disks on it whose requests are counted. */
export class Rig implements AsyncDisposable {
  readonly #stop: () => Promise<void>;
  readonly #endpoint: string;
  readonly requests: Requests = { put: 0, read: 0, get: 0, head: 0, list: 0, deleteMany: 0, sent: 0 };
  #volumes = 0;

  private constructor(endpoint: string, stop: () => Promise<void>) {
    this.#endpoint = endpoint;
    this.#stop = stop;
  }

  /** @param latency of each request. Milliseconds. */
  static async start(latency: number): Promise<Rig> {
    const main = new URL('store-main.ts', import.meta.url).pathname;
    const child = spawn(process.execPath, [main, String(latency)], { stdio: ['ignore', 'pipe', 'inherit'] });
    const stop = async (): Promise<void> => {
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    };
    const [endpoint] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
    return new Rig(endpoint, stop);
  }

  /** A new volume. Bytes. */
  async create(size: number, options: Record<string, unknown> = {}): Promise<S3Config> {
    process.env['BENCH_S3_SECRET'] = 'test-secret-key';
    const config = s3Config.parse({
      endpoint: this.#endpoint,
      bucket: BUCKET,
      prefix: `volume${this.#volumes++}`,
      size,
      credentials: { accessKeyId: 'test', secretAccessKey: { env: 'BENCH_S3_SECRET' } },
      ...options,
    });
    await withStore(await this.connect(config), config, context(), createVolume);
    return config;
  }

  async open(config: S3Config, takeOver = false): Promise<BlockDevice> {
    return openVolume(await this.connect(config), config, context({ takeOver }));
  }

  reset(): void {
    for (const kind of Object.keys(this.requests) as (keyof Requests)[]) this.requests[kind] = 0;
  }

  get total(): number {
    const { sent: _, ...counts } = this.requests;
    return Object.values(counts).reduce((sum, count) => sum + count, 0);
  }

  async connect(config: S3Config): Promise<ObjectStore> {
    const store = await LeanStore.connect(config, '/');
    const { requests } = this;
    return new Proxy(store, {
      get(target, name, receiver) {
        const value = Reflect.get(target, name, receiver) as unknown;
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          if (typeof name === 'string' && name in requests) requests[name as keyof Requests]++;
          if (name === 'put') requests.sent += (args[1] as Uint8Array).length;
          return (value as (...args: unknown[]) => unknown).apply(target, args);
        };
      },
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stop();
  }
}
