// hot path: see ARCHITECTURE.md "Data plane"

import type { Redis } from 'ioredis';
import type { Change } from './change.ts';
import type { RangeRead } from './range-read.ts';
import { encodeCommand, RespConnection, RespError } from './resp-connection.ts';
import type { Scripted } from './scripts.ts';
import { type ChangeScript, WriterConnection } from './writer-connection.ts';

type Argument = string | number | Uint8Array;

/** The commands of reads, writes and flushes. They fail as their connection does. */
export interface HotCommands {
  /** Connections for changes, each of which has one batch at a time. None: one, which has as many as there are. */
  readonly lanes: number;
  /** GETRANGE. */
  read(key: string, read: RangeRead): void;
  /** One of the scripts that return numbers; `null` where it returns none. */
  change(
    lane: number,
    script: ChangeScript,
    keys: readonly string[],
    args: readonly Argument[],
  ): Promise<number[] | null>;
  /** Writes of so many bytes rather go in a transaction than by a script. */
  prefersTransaction(lane: number, bytes: number): boolean;
  /** See `WriterConnection.transact`; undefined as well where there are no transactions. */
  transact(
    lane: number,
    ownerKey: string,
    owner: string,
    keys: readonly string[],
    writes: readonly Change[],
  ): Promise<readonly (RespError | undefined)[] | undefined>;
  /** Every connection is there, and answers. */
  ping(): Promise<unknown>;
  /** Of each connection that carries changes: a command of words and numbers. */
  onWriters(...command: readonly (string | number)[]): Promise<unknown>[];
}

/** By way of ioredis, which knows where in a cluster a key is. */
export class ClusterCommands implements HotCommands {
  readonly lanes = 0;
  readonly #reader: Scripted;
  readonly #writer: Scripted;
  readonly #masters: () => Redis[];

  constructor(reader: Scripted, writer: Scripted, masters: () => Redis[]) {
    this.#reader = reader;
    this.#writer = writer;
    this.#masters = masters;
  }

  read(key: string, read: RangeRead): void {
    const take = (bytes: Buffer): void => {
      read.takes();
      read.bytes(bytes, 0, bytes.length);
      read.replied(bytes.length);
    };
    const fail = (error: Error): void =>
      error.name === 'ReplyError' ? read.replied(new RespError(error.message)) : read.lost();
    this.#reader.getrangeBuffer(key, read.from, read.from + read.length - 1).then(take, fail);
  }

  change(
    _lane: number,
    script: ChangeScript,
    keys: readonly string[],
    args: readonly Argument[],
  ): Promise<number[] | null> {
    return this.#writer[script](keys.length, ...keys, ...(args as (string | number | Buffer)[]));
  }

  prefersTransaction(): boolean {
    return false;
  }

  async transact(): Promise<undefined> {}

  ping(): Promise<unknown> {
    return Promise.all([this.#reader.ping(), this.#writer.ping()]);
  }

  onWriters(...[name, ...args]: [string, ...(string | number)[]]): Promise<unknown>[] {
    return this.#masters().map((master) => master.call(name, ...args));
  }
}

/** On connections of ioredis that nothing else uses any more. */
export class SingleCommands implements HotCommands {
  readonly lanes: number;
  readonly #silenceMs: number;
  #reader: RespConnection | undefined;
  readonly #writers: (WriterConnection | undefined)[];

  constructor(reader: Redis, writers: readonly Redis[], silenceMs: number) {
    this.lanes = writers.length;
    this.#silenceMs = silenceMs;
    this.#writers = writers.map(() => undefined);
    this.#follow(reader, (connection) => {
      this.#reader = connection;
    });
    for (const [lane, writer] of writers.entries())
      this.#follow(writer, (connection) => {
        this.#writers[lane] = connection && new WriterConnection(connection);
      });
  }

  read(key: string, read: RangeRead): void {
    if (this.#reader === undefined) {
      read.lost();
      return;
    }
    const [first, last] = [String(read.from), String(read.from + read.length - 1)];
    this.#reader.send(
      `*4\r\n$8\r\nGETRANGE\r\n$${key.length}\r\n${key}\r\n$${first.length}\r\n${first}\r\n$${last.length}\r\n${last}\r\n`,
      read,
    );
  }

  async change(
    lane: number,
    script: ChangeScript,
    keys: readonly string[],
    args: readonly Argument[],
  ): Promise<number[] | null> {
    return await connected(this.#writers[lane]).run(script, keys, args);
  }

  prefersTransaction(lane: number, bytes: number): boolean {
    return this.#writers[lane]?.prefersTransaction(bytes) === true;
  }

  async transact(
    lane: number,
    ownerKey: string,
    owner: string,
    keys: readonly string[],
    writes: readonly Change[],
  ): Promise<readonly (RespError | undefined)[] | undefined> {
    return await connected(this.#writers[lane]).transact(ownerKey, owner, keys, writes);
  }

  async ping(): Promise<void> {
    // All are there before any is asked: an answer of the one must not be left to nobody while another is away.
    const reader = connected(this.#reader);
    const writers = this.onWriters('PING');
    await Promise.all([reader.ask(encodeCommand(['PING'])), ...writers]);
  }

  onWriters(...command: readonly (string | number)[]): Promise<unknown>[] {
    return this.#writers.map((writer) => connected(writer)).map((writer) => writer.ask(command));
  }

  #follow(redis: Redis, use: (connection: RespConnection | undefined) => void): void {
    const take = (): void => use(new RespConnection(redis.stream, this.#silenceMs));
    if (redis.status === 'ready') take();
    redis.on('ready', take);
    redis.on('close', () => use(undefined));
  }
}

function connected<T>(connection: T | undefined): T {
  if (connection === undefined) throw new Error('there is no connection to the Redis server');
  return connection;
}
