// hot path: see ARCHITECTURE.md "Data plane"

import type { Duplex } from 'node:stream';
import { receiveFrom } from './connector.ts';

/**
 * Of RESP2 (redis.io "Redis serialization protocol"), what the hot commands answer: no bulk strings within arrays. Errors
 * are within arrays only where a transaction answers.
 */
export type RespReply = number | string | Buffer | null | readonly (number | RespError)[];

/** An error that the server answered; its first word is the code. */
export class RespError extends Error {
  override readonly name = 'ReplyError';
}

/** Who waits for a reply, or for several. */
export interface ReplyTo {
  /** Of a bulk string with so many bytes: they are wanted as they come, by `bytes`, and `replied` is told how many it were. */
  takes(length: number): boolean;
  /** `input[start]` … `input[end - 1]`, which are others afterwards. Does not throw. */
  bytes(input: Buffer, start: number, end: number): void;
  replied(reply: RespReply | RespError): void;
  /** The connection broke: there is no reply, and nothing more is told. */
  lost(error: Error): void;
}

/** Several replies, errors among them, in the order of their commands. */
class Replies implements ReplyTo {
  readonly #count: number;
  readonly #replies: (RespReply | RespError)[] = [];
  readonly promise: Promise<readonly (RespReply | RespError)[]>;
  #resolve!: (replies: readonly (RespReply | RespError)[]) => void;
  #reject!: (error: Error) => void;

  constructor(count: number) {
    this.#count = count;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  takes(): boolean {
    return false;
  }

  bytes(): void {}

  replied(reply: RespReply | RespError): void {
    if (this.#replies.push(reply) === this.#count) this.#resolve(this.#replies);
  }

  lost(error: Error): void {
    this.#reject(error);
  }
}

const [CR, DOLLAR, STAR, PLUS, MINUS, COLON] = [0x0d, 0x24, 0x2a, 0x2b, 0x2d, 0x3a];

/** With so many commands gathered the server can begin, while the rest is still being made. */
const AHEAD = 16;
/** Longest bulk string that nobody takes as it comes. Bytes. */
const MAX_BULK = 1024 * 1024;
/** What a request may answer with is incomplete in the bytes that are there. */
const INCOMPLETE = Symbol('incomplete');

/**
 * Commands and replies on a connection that ioredis has made: it finds the server, negotiates TLS and logs in; this is what
 * it does for each request, for a fraction of the processor's time.
 */
export class RespConnection {
  readonly #stream: Duplex;
  readonly #silenceMs: number;
  /** In the order of their commands; those before `#head` are answered. */
  #pending: ReplyTo[] = [];
  #head = 0;
  /** Beginning of a reply. */
  #rest: Buffer | undefined;
  /** Of a bulk string that comes in several pieces: all of it, and what is to come, with the end of its line. */
  #length = 0;
  #left = 0;
  /** What there is of it, unless somebody takes it as it comes. */
  #bulk: Buffer | undefined;
  #at = 0;
  /** What leaves next: first `#out`, then `#text`. */
  #out: (string | Uint8Array)[] = [];
  #text = '';
  #gathered = 0;
  #failure: Error | undefined;
  #lastHeard = performance.now();
  readonly #timer: NodeJS.Timeout;

  /** `stream` is given up, and every command with it, when the server says nothing for `silenceMs`. */
  constructor(stream: Duplex, silenceMs: number) {
    this.#stream = stream;
    this.#silenceMs = silenceMs;
    receiveFrom(stream, (bytes) => this.#receive(bytes));
    stream.once('close', () => this.#fail(new Error('the connection to the Redis server was closed')));
    this.#timer = setInterval(() => this.#watch(), silenceMs / 4);
    this.#timer.unref();
  }

  /** `command` is encoded: see `encodeCommand`. Several may be sent as one: then `to` is told of `replies`. */
  send(command: string | readonly (string | Uint8Array)[], to: ReplyTo, replies = 1): void {
    if (this.#failure !== undefined) {
      to.lost(this.#failure);
      return;
    }
    if (this.#head === this.#pending.length) this.#lastHeard = performance.now();
    for (let i = 0; i < replies; i++) this.#pending.push(to);
    if (this.#gathered === 0) process.nextTick(this.#flush);
    this.#gathered += replies;
    if (typeof command === 'string') this.#text += command;
    else
      for (const part of command) {
        if (typeof part === 'string') this.#text += part;
        else {
          if (this.#text !== '') this.#out.push(this.#text);
          this.#text = '';
          this.#out.push(part);
        }
      }
    if (this.#gathered >= AHEAD) this.#flush();
  }

  /** Errors that the server answers are among the replies. Rejects with an error of the connection. */
  askAll(
    commands: string | readonly (string | Uint8Array)[],
    replies: number,
  ): Promise<readonly (RespReply | RespError)[]> {
    const to = new Replies(replies);
    this.send(commands, to, replies);
    return to.promise;
  }

  /** Rejects with `RespError`, or an error of the connection. */
  async ask(command: string | readonly (string | Uint8Array)[]): Promise<RespReply> {
    const [reply] = await this.askAll(command, 1);
    if (reply instanceof RespError) throw reply;
    return reply!;
  }

  /** Nothing that comes on it can be trusted any more. */
  giveUp(why: string): void {
    this.#fail(new Error(why));
    this.#stream.destroy();
  }

  /** Commands of one turn of the event loop leave together. */
  readonly #flush = (): void => {
    const [out, text] = [this.#out, this.#text];
    if (this.#gathered === 0) return;
    this.#gathered = 0;
    this.#text = '';
    if (out.length > 0) this.#out = [];
    if (!this.#stream.writable) return;
    if (out.length > 0) {
      this.#stream.cork();
      for (const part of out) this.#stream.write(part, 'latin1');
      if (text !== '') this.#stream.write(text, 'latin1');
      this.#stream.uncork();
    } else this.#stream.write(text, 'latin1');
  };

  /** `bytes` are others afterwards. */
  #receive(bytes: Buffer): void {
    if (this.#failure !== undefined) return;
    this.#lastHeard = performance.now();
    let input = bytes;
    this.#at = 0;
    if (this.#left > 0) this.#goOn(input);
    else if (this.#rest !== undefined) {
      input = Buffer.concat([this.#rest, bytes]);
      this.#rest = undefined;
    }
    while (this.#at < input.length) {
      const start = this.#at;
      const reply = this.#parse(input);
      if (this.#failure !== undefined) return;
      if (reply === INCOMPLETE) {
        if (this.#left === 0) this.#rest = Buffer.from(input.subarray(start));
        return;
      }
      this.#answer(reply);
    }
  }

  /** Goes on with a bulk string. */
  #goOn(input: Buffer): void {
    const start = this.#at;
    const length = Math.min(input.length - start, Math.max(0, this.#left - 2));
    const to = this.#pending[this.#head]!;
    if (this.#bulk === undefined) to.bytes(input, start, start + length);
    else input.copy(this.#bulk, this.#length - this.#left + 2, start, start + length);
    this.#left -= length;
    const end = Math.min(input.length - start - length, this.#left);
    this.#left -= end;
    this.#at = start + length + end;
    if (this.#left > 0) return;
    const bulk = this.#bulk;
    this.#bulk = undefined;
    this.#answer(bulk ?? this.#length);
  }

  #answer(reply: RespReply | RespError): void {
    const to = this.#pending[this.#head];
    if (to === undefined) {
      this.giveUp('a reply came to a command that was not sent');
      return;
    }
    this.#head++;
    if (this.#head === this.#pending.length) {
      this.#pending = [];
      this.#head = 0;
    }
    to.replied(reply);
    // A master that was demoted: the next connection finds the new one.
    if (reply instanceof RespError && reply.message.startsWith('READONLY')) this.giveUp(reply.message);
  }

  #parse(input: Buffer): RespReply | RespError | typeof INCOMPLETE {
    const type = input[this.#at];
    const line = this.#at + 1;
    const end = endOfLine(input, line);
    if (end < 0) return INCOMPLETE;
    switch (type) {
      case COLON:
        this.#at = end + 2;
        return integer(input, line, end);
      case PLUS:
        this.#at = end + 2;
        return input.toString('latin1', line, end);
      case MINUS:
        this.#at = end + 2;
        return new RespError(input.toString('utf8', line, end));
      case DOLLAR:
        return this.#bulkString(input, integer(input, line, end), end + 2);
      case STAR:
        return this.#list(input, integer(input, line, end), end + 2);
      default:
        this.giveUp(`a reply begins with byte ${type}`);
        return INCOMPLETE;
    }
  }

  #bulkString(input: Buffer, length: number, start: number): Buffer | number | null | typeof INCOMPLETE {
    this.#at = start;
    if (length < 0) return null;
    const to = this.#pending[this.#head];
    const isTaken = to?.takes(length) ?? false;
    if (to === undefined || (!isTaken && length > MAX_BULK)) {
      this.giveUp('a reply came that nothing has asked for');
      return INCOMPLETE;
    }
    const end = start + length;
    if (end + 2 <= input.length) {
      this.#at = end + 2;
      if (!isTaken) return Buffer.from(input.subarray(start, end));
      to.bytes(input, start, end);
      return length;
    }
    this.#length = length;
    this.#left = length + 2;
    this.#bulk = isTaken ? undefined : Buffer.allocUnsafe(length);
    this.#goOn(input);
    return INCOMPLETE;
  }

  #list(
    input: Buffer,
    count: number,
    start: number,
  ): readonly (number | RespError)[] | null | typeof INCOMPLETE {
    const values: (number | RespError)[] = [];
    let at = start;
    for (let i = 0; i < count; i++) {
      const end = endOfLine(input, at + 1);
      if (end < 0) return INCOMPLETE;
      if (input[at] === COLON) values.push(integer(input, at + 1, end));
      else if (input[at] === MINUS) values.push(new RespError(input.toString('utf8', at + 1, end)));
      else {
        this.giveUp('a list holds something that is no number');
        return INCOMPLETE;
      }
      at = end + 2;
    }
    this.#at = at;
    return count < 0 ? null : values;
  }

  #watch(): void {
    const isWaiting = this.#head < this.#pending.length;
    if (isWaiting && performance.now() - this.#lastHeard > this.#silenceMs)
      this.giveUp(`the Redis server has said nothing for ${this.#silenceMs / 1000} s`);
  }

  #fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    clearInterval(this.#timer);
    // Who waits for several is told once.
    for (const to of new Set(this.#pending.splice(this.#head))) to.lost(error);
  }
}

/** Lines are short: looking is cheaper than calling. Returns -1 when its end is not there. */
function endOfLine(input: Buffer, start: number): number {
  const last = input.length - 1;
  for (let at = start; at < last; at++) if (input[at] === CR) return at;
  return -1;
}

function integer(input: Buffer, start: number, end: number): number {
  let at = start;
  const isNegative = input[at] === 0x2d;
  if (isNegative) at++;
  let value = 0;
  for (; at < end; at++) value = value * 10 + input[at]! - 0x30;
  return isNegative ? -value : value;
}

/** A command as bytes. Strings are ASCII; what is not is given as bytes, and taken without copying. */
export function encodeCommand(parts: readonly (string | number | Uint8Array)[]): (string | Uint8Array)[] {
  const out: (string | Uint8Array)[] = [];
  let text = `*${parts.length}\r\n`;
  for (const part of parts) {
    if (part instanceof Uint8Array) {
      out.push(`${text}$${part.length}\r\n`, part);
      text = '\r\n';
    } else text += encodeWord(String(part));
  }
  out.push(text);
  return out;
}

/** ASCII. */
export const encodeWord = (word: string): string => `$${word.length}\r\n${word}\r\n`;
