// hot path: see ARCHITECTURE.md "Data plane"

import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import { encodeCommand, RespConnection, RespError } from './resp-connection.ts';
import { SCRIPTS, type Scripted } from './scripts.ts';

type Argument = string | number | Uint8Array;

/** The commands of reads, writes and flushes. They fail as their connection does. */
export interface HotCommands {
  getRange(key: string, from: number, to: number): Promise<Buffer>;
  /** One of the scripts that return numbers; `null` where it returns none. */
  change(
    script: 'bgChange' | 'bgWrite',
    keys: readonly string[],
    args: readonly Argument[],
  ): Promise<number[] | null>;
  /** Every connection is there, and answers. */
  ping(): Promise<unknown>;
  /** Of each connection that carries changes: a command of words and numbers. */
  onWriters(...command: readonly (string | number)[]): Promise<unknown>[];
}

/** By way of ioredis, which knows where in a cluster a key is. */
export class ClusterCommands implements HotCommands {
  readonly #reader: Scripted;
  readonly #writer: Scripted;
  readonly #masters: () => Redis[];

  constructor(reader: Scripted, writer: Scripted, masters: () => Redis[]) {
    this.#reader = reader;
    this.#writer = writer;
    this.#masters = masters;
  }

  getRange(key: string, from: number, to: number): Promise<Buffer> {
    return this.#reader.getrangeBuffer(key, from, to);
  }

  change(
    script: 'bgChange' | 'bgWrite',
    keys: readonly string[],
    args: readonly Argument[],
  ): Promise<number[] | null> {
    return this.#writer[script](keys.length, ...keys, ...(args as (string | number | Buffer)[]));
  }

  ping(): Promise<unknown> {
    return Promise.all([this.#reader.ping(), this.#writer.ping()]);
  }

  onWriters(...[name, ...args]: [string, ...(string | number)[]]): Promise<unknown>[] {
    return this.#masters().map((master) => master.call(name, ...args));
  }
}

const SHA = {
  bgChange: createHash('sha1').update(SCRIPTS.bgChange.lua).digest('hex'),
  bgWrite: createHash('sha1').update(SCRIPTS.bgWrite.lua).digest('hex'),
};

/** On two connections of ioredis that nothing else uses any more. */
export class SingleCommands implements HotCommands {
  readonly #silenceMs: number;
  #reader: RespConnection | undefined;
  #writer: RespConnection | undefined;

  constructor(reader: Redis, writer: Redis, silenceMs: number) {
    this.#silenceMs = silenceMs;
    this.#follow(reader, (connection) => {
      this.#reader = connection;
    });
    this.#follow(writer, (connection) => {
      this.#writer = connection;
      // Before anything else on it: a server that was started again knows no scripts.
      if (connection === undefined) return;
      for (const name of ['bgChange', 'bgWrite'] as const) void this.#load(name).catch(() => undefined);
    });
  }

  getRange(key: string, from: number, to: number): Promise<Buffer> {
    const [first, last] = [String(from), String(to)];
    const words = `$8\r\nGETRANGE\r\n$${key.length}\r\n${key}\r\n$${first.length}\r\n${first}\r\n$${last.length}\r\n${last}\r\n`;
    if (this.#reader === undefined) return Promise.reject(noConnection());
    return this.#reader.send(`*4\r\n${words}`) as Promise<Buffer>;
  }

  async change(
    script: 'bgChange' | 'bgWrite',
    keys: readonly string[],
    args: readonly Argument[],
  ): Promise<number[] | null> {
    const command = encodeCommand(['EVALSHA', SHA[script], keys.length, ...keys, ...args]);
    const writer = connected(this.#writer);
    try {
      return (await writer.send(command)) as number[] | null;
    } catch (error) {
      if (!(error instanceof RespError) || !error.message.startsWith('NOSCRIPT')) throw error;
      await this.#load(script);
      return (await writer.send(command)) as number[] | null;
    }
  }

  async ping(): Promise<void> {
    // Both are there before either is asked: an answer of the one must not be left to nobody while the other is away.
    const connections = [connected(this.#reader), connected(this.#writer)];
    await Promise.all(connections.map((connection) => connection.send(encodeCommand(['PING']))));
  }

  onWriters(...command: readonly (string | number)[]): Promise<unknown>[] {
    return [connected(this.#writer).send(encodeCommand(command))];
  }

  async #load(script: 'bgChange' | 'bgWrite'): Promise<void> {
    await connected(this.#writer).send(encodeCommand(['SCRIPT', 'LOAD', SCRIPTS[script].lua]));
  }

  #follow(redis: Redis, use: (connection: RespConnection | undefined) => void): void {
    const take = (): void => use(new RespConnection(redis.stream, this.#silenceMs));
    if (redis.status === 'ready') take();
    redis.on('ready', take);
    redis.on('close', () => use(undefined));
  }
}

function connected(connection: RespConnection | undefined): RespConnection {
  if (connection === undefined) throw noConnection();
  return connection;
}

const noConnection = (): Error => new Error('there is no connection to the Redis server');
