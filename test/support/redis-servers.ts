import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort, freePortWith } from './free-port.ts';

const run = promisify(execFile);

export interface ServerOptions {
  readonly port?: number;
  /** After the name of the configuration. */
  readonly args?: readonly string[];
  /** Default: redis-server. */
  readonly program?: string;
}

/** A real Redis server in a process of its own, with its files in `folder`. */
export class RedisServer implements AsyncDisposable {
  readonly port: number;
  readonly folder: string;
  readonly #program: string;
  readonly #args: readonly string[];
  #child: ChildProcess | undefined;
  #said = '';

  private constructor(port: number, folder: string, program: string, args: readonly string[]) {
    this.port = port;
    this.folder = folder;
    this.#program = program;
    this.#args = args;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  /** `config`: lines of redis.conf. */
  static async start(
    folder: string,
    config: readonly string[] = [],
    { port, args = [], program = 'redis-server' }: ServerOptions = {},
  ): Promise<RedisServer> {
    mkdirSync(folder, { recursive: true });
    const chosen = port ?? (await freePort());
    const lines = [`dir ${folder}`, 'bind 127.0.0.1', 'save ""', `port ${chosen}`, ...config];
    writeFileSync(join(folder, 'redis.conf'), `${lines.join('\n')}\n`);
    const server = new RedisServer(chosen, folder, program, [join(folder, 'redis.conf'), ...args]);
    await server.start();
    return server;
  }

  async start(): Promise<void> {
    const child = spawn(this.#program, this.#args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (text: Buffer) => {
        this.#said = (this.#said + text.toString()).slice(-10_000);
      });
    this.#child = child;
    for (let attempt = 0; ; attempt++) {
      if (child.exitCode !== null || attempt === 400)
        throw new Error(`redis-server did not start: ${this.#said}`);
      if ((await this.cli('PING').catch(() => '')).includes('PONG')) return;
      await delay(25);
    }
  }

  async cli(...args: string[]): Promise<string> {
    return (await run('redis-cli', ['-p', String(this.port), ...args])).stdout.trim();
  }

  async kill9(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill9();
  }
}

/** Lines of redis.conf for a server whose writes survive it. */
export const AOF = ['appendonly yes', 'appendfsync always'];

/** Nodes of a cluster talk to each other on the port that is so far above their own. */
const BUS_PORT = 10_000;

/** Three masters with a replica each. */
export async function startCluster(folder: string): Promise<RedisServer[]> {
  const servers: RedisServer[] = [];
  for (let i = 0; i < 6; i++)
    servers.push(
      await RedisServer.start(
        join(folder, `node${i}`),
        [...AOF, 'cluster-enabled yes', 'cluster-node-timeout 2000', 'repl-diskless-sync-delay 0'],
        { port: await freePortWith(BUS_PORT) },
      ),
    );
  const addresses = servers.map(({ address }) => address);
  await run('redis-cli', ['--cluster', 'create', ...addresses, '--cluster-replicas', '1', '--cluster-yes']);
  for (const server of servers)
    while (!(await server.cli('CLUSTER', 'INFO')).includes('cluster_state:ok')) await delay(100);
  // A replica that is not connected yet is not one that a flush can wait for.
  for (const server of servers)
    if ((await server.cli('ROLE')).startsWith('master'))
      while (!(await server.cli('INFO', 'replication')).includes('connected_slaves:1')) await delay(100);
  return servers;
}
