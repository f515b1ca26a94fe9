// hot path: see ARCHITECTURE.md "Data plane"

import type { Duplex } from 'node:stream';

/** Of RESP2 (redis.io "Redis serialization protocol"), what the hot commands answer: no bulk strings within arrays. */
export type RespReply = number | string | Buffer | null | readonly number[];

/** An error that the server answered; its first word is the code. */
export class RespError extends Error {
  override readonly name = 'ReplyError';
}

interface Pending {
  readonly resolve: (reply: RespReply) => void;
  readonly reject: (error: Error) => void;
}

const [CR, DOLLAR, STAR, PLUS, MINUS, COLON] = [0x0d, 0x24, 0x2a, 0x2b, 0x2d, 0x3a];

/** With so many pieces gathered the server can begin, while the rest is still being made. */
const AHEAD = 8;
/** What a request may answer with is incomplete in the bytes that are there. */
const INCOMPLETE = Symbol('incomplete');

/**
 * Commands and replies on a connection that ioredis has made: it finds the server, negotiates TLS and logs in; this is what
 * it does for each request, for a quarter of the processor's time.
 */
export class RespConnection {
  readonly #stream: Duplex;
  readonly #silenceMs: number;
  /** In the order of their commands; those before `#head` are answered. */
  #pending: Pending[] = [];
  #head = 0;
  #rest: Buffer | undefined;
  /** A bulk string that comes in several pieces. */
  #bulk: Buffer | undefined;
  #filled = 0;
  #at = 0;
  #out: (string | Uint8Array)[] = [];
  #failure: Error | undefined;
  #lastHeard = performance.now();
  readonly #timer: NodeJS.Timeout;

  /** `stream` is given up, and every command with it, when the server says nothing for `silenceMs`. */
  constructor(stream: Duplex, silenceMs: number) {
    this.#stream = stream;
    this.#silenceMs = silenceMs;
    stream.removeAllListeners('data');
    stream.on('data', (bytes: Buffer) => this.#receive(bytes));
    stream.once('close', () => this.#fail(new Error('the connection to the Redis server was closed')));
    this.#timer = setInterval(() => this.#watch(), silenceMs / 4);
    this.#timer.unref();
  }

  /** `command` is encoded: see `encodeCommand`. Rejects with `RespError`, or an error of the connection. */
  send(command: string | readonly (string | Uint8Array)[]): Promise<RespReply> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#head === this.#pending.length) this.#lastHeard = performance.now();
    if (this.#out.length === 0) process.nextTick(this.#flush);
    if (typeof command === 'string') this.#out.push(command);
    else this.#out.push(...command);
    if (this.#out.length >= AHEAD) this.#flush();
    return new Promise((resolve, reject) => this.#pending.push({ resolve, reject }));
  }

  /** Commands of one turn of the event loop leave together. */
  readonly #flush = (): void => {
    const out = this.#out;
    this.#out = [];
    if (out.length === 0 || !this.#stream.writable) return;
    this.#stream.cork();
    let text = '';
    for (const part of out) {
      if (typeof part === 'string') text += part;
      else {
        if (text !== '') this.#stream.write(text, 'latin1');
        text = '';
        this.#stream.write(part);
      }
    }
    if (text !== '') this.#stream.write(text, 'latin1');
    this.#stream.uncork();
  };

  #receive(bytes: Buffer): void {
    this.#lastHeard = performance.now();
    let input = bytes;
    if (this.#bulk !== undefined) {
      const taken = this.#fill(input);
      if (taken === undefined) return;
      input = input.subarray(taken);
    } else if (this.#rest !== undefined) {
      input = Buffer.concat([this.#rest, bytes]);
      this.#rest = undefined;
    }
    this.#at = 0;
    while (this.#at < input.length) {
      const start = this.#at;
      const reply = this.#parse(input);
      if (reply === INCOMPLETE) {
        if (this.#bulk === undefined) this.#rest = input.subarray(start);
        return;
      }
      this.#answer(reply);
      if (this.#failure !== undefined) return;
    }
  }

  /** Goes on with a bulk string. Returns how much of `input` belongs to it, or undefined when more is to come. */
  #fill(input: Buffer): number | undefined {
    const bulk = this.#bulk!;
    const taken = Math.min(input.length, bulk.length - this.#filled);
    input.copy(bulk, this.#filled, 0, taken);
    this.#filled += taken;
    if (this.#filled < bulk.length) return undefined;
    this.#bulk = undefined;
    this.#answer(bulk.subarray(0, bulk.length - 2));
    return taken;
  }

  #answer(reply: RespReply | RespError): void {
    const pending = this.#pending[this.#head];
    if (pending === undefined) {
      this.#giveUp('a reply came to a command that was not sent');
      return;
    }
    this.#head++;
    if (this.#head === this.#pending.length) {
      this.#pending = [];
      this.#head = 0;
    }
    if (reply instanceof RespError) pending.reject(reply);
    else pending.resolve(reply);
  }

  #parse(input: Buffer): RespReply | RespError | typeof INCOMPLETE {
    const type = input[this.#at];
    const end = input.indexOf(CR, this.#at + 1);
    if (end < 0 || end + 1 >= input.length) return INCOMPLETE;
    const line = this.#at + 1;
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
        return this.#integers(input, integer(input, line, end), end + 2);
      default:
        this.#giveUp(`a reply begins with byte ${type}`);
        return INCOMPLETE;
    }
  }

  #bulkString(input: Buffer, length: number, start: number): Buffer | null | typeof INCOMPLETE {
    if (length < 0) {
      this.#at = start;
      return null;
    }
    const end = start + length;
    if (end + 2 <= input.length) {
      this.#at = end + 2;
      return input.subarray(start, end);
    }
    this.#bulk = Buffer.allocUnsafe(length + 2);
    this.#filled = input.copy(this.#bulk, 0, start);
    return INCOMPLETE;
  }

  #integers(input: Buffer, count: number, start: number): number[] | typeof INCOMPLETE {
    const values: number[] = [];
    let at = start;
    for (let i = 0; i < count; i++) {
      const end = input.indexOf(CR, at + 1);
      if (end < 0 || end + 1 >= input.length) return INCOMPLETE;
      if (input[at] !== COLON) {
        this.#giveUp('a list holds something that is no number');
        return INCOMPLETE;
      }
      values.push(integer(input, at + 1, end));
      at = end + 2;
    }
    this.#at = at;
    return values;
  }

  #watch(): void {
    const isWaiting = this.#head < this.#pending.length;
    if (isWaiting && performance.now() - this.#lastHeard > this.#silenceMs)
      this.#giveUp(`the Redis server has said nothing for ${this.#silenceMs / 1000} s`);
  }

  #giveUp(why: string): void {
    this.#fail(new Error(why));
    this.#stream.destroy();
  }

  #fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    clearInterval(this.#timer);
    for (const { reject } of this.#pending.splice(this.#head)) reject(error);
  }
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
    } else {
      const word = String(part);
      text += `$${word.length}\r\n${word}\r\n`;
    }
  }
  out.push(text);
  return out;
}
