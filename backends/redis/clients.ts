import { resolve } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'ioredis';
import { type PluginContext, readPemFile, resolveSecret } from '../../core/plugin.ts';
import { ADDRESS, type RedisConfig } from './config.ts';
import { OneBufferConnector } from './connector.ts';
import { unavailable } from './errors.ts';
import { ClusterCommands, type HotCommands, SingleCommands } from './hot-commands.ts';
import { SCRIPTS, type Scripted } from './scripts.ts';

/** A server that says nothing for so long, while something is asked of it, is gone. Milliseconds. */
const SILENCE_MS = 15_000;
const CONNECT_MS = 10_000;
const KEEP_ALIVE_MS = 10_000;

/** Connections for changes: while the server carries out what came on one, the next batch is made for another. */
const LANES = 2;

/**
 * Connections for reads and others for writes (in a cluster, one of each to every node): a flush waits on those which
 * carried the writes, and what comes behind it there waits as well; reads are on the other.
 */
export class RedisClients implements Disposable {
  readonly reader: Scripted;
  readonly writer: Scripted;
  /** For messages. */
  readonly where: string;
  readonly isCluster: boolean;
  /** What reads, writes and flushes use. */
  readonly hot: HotCommands;
  /** Connections of `hot` alone; none in a cluster. */
  readonly #hotClients: Redis[];
  #generation = 0;
  #onDisrupted: (() => void) | undefined;
  #lastError: Error | undefined;

  private constructor(where: string, make: () => Redis | Cluster) {
    this.where = where;
    this.reader = this.#watched(make());
    this.writer = this.#watched(make());
    this.isCluster = this.writer instanceof Cluster;
    // The reader of replies in hot-commands.ts knows the older protocol, which every server speaks.
    const hotClients = this.isCluster ? 0 : 1 + LANES;
    this.#hotClients = Array.from({ length: hotClients }, () => this.#watched(make()) as unknown as Redis);
    const [reader, ...writers] = this.#hotClients;
    this.hot =
      reader === undefined
        ? new ClusterCommands(this.reader, this.writer, () => this.masters())
        : new SingleCommands(reader, writers, SILENCE_MS);
  }

  /** Connected, and let in. Throws `redis.unavailable`. */
  static async connect(config: RedisConfig, ctx: PluginContext): Promise<RedisClients> {
    const { where, make } = await recipe(config, ctx);
    const clients = new RedisClients(where, make);
    try {
      await Promise.all(clients.#all.map((client) => client.connect()));
      await clients.ready();
      return clients;
    } catch (error) {
      clients[Symbol.dispose]();
      throw unavailable(where, clients.#lastError ?? error);
    }
  }

  /** Grows whenever a connection breaks: what was asked before that may have been answered by another server. */
  get generation(): number {
    return this.#generation;
  }

  /** Told of every such break. */
  set onDisrupted(listener: () => void) {
    this.#onDisrupted = listener;
  }

  /** Why the last connection broke. */
  get lastError(): Error | undefined {
    return this.#lastError;
  }

  /** Every connection is there. Rejects as they do. */
  async ready(): Promise<void> {
    await Promise.all([this.reader.ping(), this.writer.ping(), this.hot.ping()]);
  }

  /** On every connection that carries changes. */
  onWriters(...command: readonly (string | number)[]): Promise<unknown>[] {
    const [name, ...args] = command as [string, ...(string | number)[]];
    // First those that may not be there: nothing must be left to nobody.
    const hot = this.hot.onWriters(...command);
    return this.isCluster ? hot : [...hot, (this.writer as Redis).call(name, ...args)];
  }

  /** Connections of `writer` to the masters. */
  masters(): Redis[] {
    return this.writer instanceof Cluster ? this.writer.nodes('master') : [this.writer as Redis];
  }

  [Symbol.dispose](): void {
    this.#onDisrupted = undefined;
    for (const client of this.#all) client.disconnect();
  }

  get #all(): (Redis | Cluster)[] {
    return [this.reader, this.writer, ...this.#hotClients];
  }

  #watched(client: Redis | Cluster): Scripted {
    const disrupted = (): void => {
      this.#generation++;
      this.#onDisrupted?.();
    };
    // Reported by whoever asks next; without a listener ioredis prints it.
    client.on('error', (error: Error) => {
      this.#lastError = error;
    });
    if (client instanceof Cluster) {
      client.on('node error', (error: Error) => {
        this.#lastError = error;
      });
      client.on('+node', (node: Redis) => node.on('close', disrupted));
    } else client.on('close', disrupted);
    return client as Scripted;
  }
}

async function recipe(
  config: RedisConfig,
  ctx: PluginContext,
): Promise<{ where: string; make: () => Redis | Cluster }> {
  const { address, socket, sentinels, cluster, username, password, database } = config;
  const tls = config.tls && (await tlsOptions(config.tls, ctx.baseDir));
  const secret = password && (await resolveSecret(password, ctx.baseDir)).reveal();
  const common: RedisOptions = {
    ...(username !== undefined && { username }),
    ...(secret !== undefined && { password: secret }),
    ...(tls !== undefined && { tls }),
    protocol: 2,
    lazyConnect: true,
    connectTimeout: CONNECT_MS,
    socketTimeout: SILENCE_MS,
    keepAlive: KEEP_ALIVE_MS,
    // What was under way when a connection broke is settled at once: what is sent again, and in which order, is our business.
    maxRetriesPerRequest: 0,
    retryStrategy: (attempt) => Math.min(100 * attempt, 2000),
    // A master that was demoted: the next connection finds the new one.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    disableClientInfo: true,
    scripts: SCRIPTS,
  };
  if (cluster !== undefined) {
    const options: ClusterOptions = {
      redisOptions: common,
      scripts: SCRIPTS,
      lazyConnect: true,
      clusterRetryStrategy: (attempt) => Math.min(100 * attempt, 2000),
      slotsRefreshTimeout: 5000,
      slotsRefreshInterval: 5000,
    };
    return { where: cluster.join(', '), make: () => new Cluster(cluster.map(hostAndPort), options as never) };
  }
  const one: RedisOptions = { ...common, db: database };
  if (sentinels !== undefined) {
    const sentinelPassword =
      sentinels.password && (await resolveSecret(sentinels.password, ctx.baseDir)).reveal();
    const options: RedisOptions = {
      ...one,
      sentinels: sentinels.addresses.map(hostAndPort),
      name: sentinels.master,
      ...(sentinelPassword !== undefined && { sentinelPassword }),
      ...(tls !== undefined && { sentinelTLS: tls, enableTLSForSentinelMode: true }),
      sentinelRetryStrategy: (attempt) => Math.min(100 * attempt, 2000),
    };
    return {
      where: `${sentinels.master} of ${sentinels.addresses.join(', ')}`,
      make: () => single(options),
    };
  }
  if (socket !== undefined) {
    const path = resolve(ctx.baseDir, socket);
    return { where: path, make: () => single({ ...one, path, Connector: OneBufferConnector }) };
  }
  const options: RedisOptions = { ...one, ...hostAndPort(address!), Connector: OneBufferConnector };
  return { where: address!, make: () => single(options) };
}

/** Its declarations do not allow for options that are given as undefined. */
const single = (options: RedisOptions): Redis => new Redis(options as never);

function hostAndPort(address: string): { host: string; port: number } {
  const match = ADDRESS.exec(address)!;
  return { host: (match[1] ?? match[2])!, port: Number(match[3]) };
}

async function tlsOptions(
  { ca, cert, key, insecure }: NonNullable<RedisConfig['tls']>,
  baseDir: string,
): Promise<ConnectionOptions> {
  return {
    ...(ca !== undefined && { ca: await pem(ca, baseDir) }),
    ...(cert !== undefined && { cert: await pem(cert, baseDir) }),
    ...(key !== undefined && { key: await pem(key, baseDir) }),
    rejectUnauthorized: !insecure,
    minVersion: 'TLSv1.2',
  };
}

const pem = (path: string, baseDir: string): Promise<Buffer> => readPemFile(path, baseDir, 'redis.tls-file');
