import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { type S3Config, s3Config } from '../../../backends/s3/config.ts';
import { openVolume } from '../../../backends/s3/open.ts';
import { withStore } from '../../../backends/s3/operation.ts';
import { LeanStore } from '../../../backends/s3/store/lean-store.ts';
import type { ObjectStore } from '../../../backends/s3/store/object-store.ts';
import { StoreError } from '../../../backends/s3/store/store-error.ts';
import { createVolume } from '../../../backends/s3/volumes.ts';
import type { BlockDevice } from '../../../core/plugin.ts';
import { atExit } from '../../../core/vm/at-exit.ts';
import { context } from '../../backends/s3/harness.ts';

const BUCKET = 'bench';

/** Requests by kind. */
export type Requests = Record<'put' | 'read' | 'get' | 'head' | 'list' | 'deleteMany', number> & {
  /** Bytes, and those of them that the store has answered for. */
  sent: number;
  acknowledged: number;
};

/** A store some milliseconds away, in a process of its own, and disks on it whose requests are counted. */
export class Rig implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #left: Disposable;
  readonly #endpoint: string;
  readonly requests: Requests = {
    ...{ put: 0, read: 0, get: 0, head: 0, list: 0, deleteMany: 0 },
    ...{ sent: 0, acknowledged: 0 },
  };
  readonly #objects = new Map<string, number>();
  #volumes = 0;
  /** No checkpoint is stored: what was written since the last one becomes more and more. */
  refusesCheckpoints = false;

  private constructor(endpoint: string, child: ChildProcess) {
    this.#endpoint = endpoint;
    this.#child = child;
    this.#left = atExit(() => child.kill('SIGKILL'));
  }

  /** @param latency of each request. Milliseconds. */
  static async start(latency: number): Promise<Rig> {
    const main = new URL('store-main.ts', import.meta.url).pathname;
    const child = spawn(process.execPath, [main, String(latency)], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [endpoint] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
    return new Rig(endpoint, child);
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
    const { sent: _sent, acknowledged: _acknowledged, ...counts } = this.requests;
    return Object.values(counts).reduce((sum, count) => sum + count, 0);
  }

  /** Bytes in the bucket. */
  get stored(): number {
    let sum = 0;
    for (const size of this.#objects.values()) sum += size;
    return sum;
  }

  /** The store answers nobody any more, as when the network is gone. */
  pause(): void {
    this.#child.kill('SIGSTOP');
  }

  resume(): void {
    this.#child.kill('SIGCONT');
  }

  async connect(config: S3Config): Promise<ObjectStore> {
    const store = await LeanStore.connect(config, '/');
    const count = (kind: keyof Requests): void => void this.requests[kind]++;
    const put: ObjectStore['put'] = async (key, body, options, signal) => {
      if (this.refusesCheckpoints && key.includes('/ckpt/')) throw new StoreError('rejected', 'not now');
      count('put');
      this.requests.sent += body.length;
      const etag = await store.put(key, body, options, signal);
      this.requests.acknowledged += body.length;
      this.#objects.set(key, body.length);
      return etag;
    };
    const deleteMany: ObjectStore['deleteMany'] = async (keys, signal) => {
      count('deleteMany');
      const failures = await store.deleteMany(keys, signal);
      for (const key of keys) this.#objects.delete(key);
      return failures;
    };
    const own: Partial<ObjectStore> = { put, deleteMany };
    return new Proxy<ObjectStore>(store, {
      get: (target, name) => {
        if (name in own) return own[name as keyof ObjectStore];
        const value = Reflect.get(target, name) as unknown;
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          if (name in this.requests) count(name as keyof Requests);
          return (value as (...args: unknown[]) => unknown).apply(target, args);
        };
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
    this.#left[Symbol.dispose]();
  }
}
