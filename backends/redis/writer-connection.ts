// hot path: see ARCHITECTURE.md "Data plane"

import { createHash } from 'node:crypto';
import { type Change, commandsOf } from './change.ts';
import {
  encodeCommand,
  encodeWord,
  type RespConnection,
  RespError,
  type RespReply,
} from './resp-connection.ts';
import { SCRIPTS } from './scripts.ts';
import { TransactionChoice } from './transaction-choice.ts';

export type ChangeScript = 'bgChange' | 'bgWrite';

const SHA = {
  bgChange: createHash('sha1').update(SCRIPTS.bgChange.lua).digest('hex'),
  bgWrite: createHash('sha1').update(SCRIPTS.bgWrite.lua).digest('hex'),
};

const [EXEC, DISCARD, UNWATCH, MULTI] = ['EXEC', 'DISCARD', 'UNWATCH', 'MULTI'].map((name) =>
  encodeCommand([name]).join(''),
) as [string, string, string, string];
const DISCARDED = 'EXECABORT Transaction discarded because of: ';

/** A connection that carries changes: by a script, or in a transaction. */
export class WriterConnection {
  readonly #connection: RespConnection;
  /** Whatever else is sent now would become a part of the transaction. */
  #isOpen = false;
  #waiting: (() => void)[] = [];
  /** Otherwise the user may not, or something in between does not know how. */
  #canTransact = true;
  readonly #choice = new TransactionChoice();

  constructor(connection: RespConnection) {
    this.#connection = connection;
    // Before anything else on it: a server that was started again knows no scripts.
    for (const name of ['bgChange', 'bgWrite'] as const) void this.#load(name).catch(() => undefined);
  }

  /** Rejects with `RespError`, or an error of the connection. */
  async ask(command: readonly (string | number)[]): Promise<RespReply> {
    while (this.#isOpen) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return await this.#connection.ask(encodeCommand(command));
  }

  /** Of so many bytes. */
  prefersTransaction(bytes: number): boolean {
    return this.#canTransact && this.#choice.isBetter(bytes);
  }

  /** Returns the numbers that the script does, or `null` where it returns none. */
  async run(
    script: ChangeScript,
    keys: readonly string[],
    args: readonly (string | number | Uint8Array)[],
  ): Promise<number[] | null> {
    const command = encodeCommand(['EVALSHA', SHA[script], keys.length, ...keys, ...args]);
    try {
      return (await this.#connection.ask(command)) as number[] | null;
    } catch (error) {
      if (!(error instanceof RespError) || !error.message.startsWith('NOSCRIPT')) throw error;
      await this.#load(script);
      return (await this.#connection.ask(command)) as number[] | null;
    }
  }

  /**
   * Carries out `writes` if `ownerKey` holds `owner` and all of `keys` are there, from when that is looked at until it is
   * done: the server refuses the transaction (`WATCH`) when anything was done to one of them in between. Returns the error
   * of each write, if it has one; or undefined: then nothing was done, for a reason that the script can tell. Rejects with
   * `RespError` when the server refuses all of them, or with an error of the connection.
   */
  async transact(
    ownerKey: string,
    owner: string,
    keys: readonly string[],
    writes: readonly Change[],
  ): Promise<readonly (RespError | undefined)[] | undefined> {
    const words = keys.map(encodeWord).join('');
    const ownerWord = encodeWord(ownerKey);
    const look =
      `*${keys.length + 2}\r\n$5\r\nWATCH\r\n${ownerWord}${words}*2\r\n$3\r\nGET\r\n${ownerWord}` +
      `*${keys.length + 1}\r\n$6\r\nEXISTS\r\n${words}${MULTI}`;
    this.#isOpen = true;
    let done: Promise<readonly (RespReply | RespError)[]>;
    try {
      const start = performance.now();
      const [watched, holds, there, begun] = await this.#connection.askAll(look, 4);
      this.#choice.tookRoundTrip(performance.now() - start);
      // Only where MULTI was answered is it certain that what follows waits for EXEC.
      const isBegun = begun === 'OK';
      const isOurs = Buffer.isBuffer(holds) && holds.toString('latin1') === owner;
      if (isBegun && watched === 'OK' && isOurs && there === keys.length)
        done = this.#connection.askAll([...commandsOf(writes), EXEC], writes.length + 1);
      else {
        for (const reply of [watched, begun])
          if (reply instanceof RespError && /^(?:NOPERM|ERR unknown command)/.test(reply.message))
            this.#canTransact = false;
        this.#connection.askAll(isBegun ? DISCARD : UNWATCH, 1).catch(() => undefined);
        return undefined;
      }
    } finally {
      this.#isOpen = false;
      for (const go of this.#waiting.splice(0)) go();
    }
    return this.#outcome(await done);
  }

  #outcome(replies: readonly (RespReply | RespError)[]): readonly (RespError | undefined)[] | undefined {
    const executed = replies.at(-1)!;
    if (executed === null) return undefined;
    if (Array.isArray(executed) && executed.length === replies.length - 1)
      return executed.map((reply: number | RespError) => (reply instanceof RespError ? reply : undefined));
    const refused = replies.find((reply) => reply instanceof RespError);
    if (executed instanceof RespError && executed.message.startsWith('EXECABORT')) {
      if (refused !== executed) throw refused;
      throw new RespError(executed.message.replace(DISCARDED, ''));
    }
    this.#connection.giveUp('a transaction was answered with something else than its end');
    throw executed instanceof RespError ? executed : new Error('a transaction has no end');
  }

  async #load(script: ChangeScript): Promise<void> {
    await this.#connection.ask(encodeCommand(['SCRIPT', 'LOAD', SCRIPTS[script].lua]));
  }
}
