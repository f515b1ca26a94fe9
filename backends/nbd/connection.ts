// hot path: see ARCHITECTURE.md "Data plane"

import type { Socket } from 'node:net';
import { ConnectionLost } from '../../core/nbd/connection-lost.ts';
import {
  NBD_CMD_DISC,
  NBD_CMD_FLAG_PAYLOAD_LEN,
  NBD_CMD_WRITE,
  NBD_EXTENDED_REQUEST_MAGIC,
  NBD_EXTENDED_REQUEST_SIZE,
  NBD_REQUEST_MAGIC,
  NBD_REQUEST_SIZE,
} from '../../core/nbd/protocol.ts';
import type { ExportInfo } from './export-info.ts';
import type { Inbox, Receiver } from './inbox.ts';
import { type Outstanding, ReplyReader } from './reply-reader.ts';
import type { NbdRequest } from './request.ts';

/** One connection in its transmission phase: sends requests, and hands back those that are answered. */
export class NbdConnection implements Outstanding, Receiver, Disposable {
  readonly info: ExportInfo;
  /** Settles when the connection is of no use any more. */
  readonly lost: Promise<Error>;
  readonly #socket: Socket;
  readonly #onAnswer: (request: NbdRequest) => void;
  readonly #reader: ReplyReader;
  readonly #lost = Promise.withResolvers<Error>();
  /** By the lower half of their cookies. */
  readonly #requests: (NbdRequest | undefined)[] = [];
  readonly #free: number[] = [];
  /** Upper half of the next cookie: an answer to an old request is not taken for one to its successor. */
  #generation = 0;
  readonly #generations: number[] = [];
  /** What still comes in is not listened to: its requests are somebody else's by now. */
  #over = false;
  #corked = false;
  readonly #uncork = (): void => {
    this.#corked = false;
    this.#socket.uncork();
  };

  /** `inbox`: of the socket, where it has one. */
  constructor(socket: Socket, info: ExportInfo, onAnswer: (request: NbdRequest) => void, inbox?: Inbox) {
    this.info = info;
    this.lost = this.#lost.promise;
    this.#socket = socket;
    this.#onAnswer = onAnswer;
    this.#reader = new ReplyReader(info, this);
    const end = (error?: Error) => this.#end(error ?? new ConnectionLost('the server closed the connection'));
    if (inbox === undefined) socket.on('data', (bytes: Buffer) => this.take(bytes));
    else inbox.receiver = this;
    socket
      .on('error', end)
      .on('end', () => end())
      .on('close', () => end());
    // Handed over by the negotiation, whose listeners are gone.
    socket.resume();
  }

  /** Those that were not answered, in no order. */
  get unanswered(): NbdRequest[] {
    return this.#requests.filter((request) => request !== undefined);
  }

  /** Requests that are made in the same turn of the event loop leave together. */
  send(request: NbdRequest): void {
    const low = this.#free.pop() ?? this.#requests.length;
    this.#requests[low] = request;
    this.#generation = (this.#generation + 1) >>> 0;
    this.#generations[low] = this.#generation;
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      process.nextTick(this.#uncork);
    }
    this.#socket.write(this.#header(request, this.#generation, low));
    if (request.data !== undefined) this.#socket.write(request.data);
  }

  get destination(): Uint8Array | undefined {
    return this.#over ? undefined : this.#reader.destination;
  }

  take(bytes: Buffer): void {
    if (this.#over) return;
    try {
      this.#reader.take(bytes);
    } catch (error) {
      this.#end(error as Error);
    }
  }

  arrived(length: number): void {
    if (this.#over) return;
    try {
      this.#reader.arrived(length);
    } catch (error) {
      this.#end(error as Error);
    }
  }

  find(high: number, low: number): NbdRequest | undefined {
    return this.#generations[low] === high ? this.#requests[low] : undefined;
  }

  answered(request: NbdRequest, low: number): void {
    // Those after the one over which it ended are asked again.
    if (this.#over) return;
    this.#requests[low] = undefined;
    this.#free.push(low);
    this.#onAnswer(request);
  }

  /** Says goodbye. Requests that are under way are not waited for. */
  [Symbol.dispose](): void {
    const goodbye = new Uint8Array(
      this.#header({ flags: 0, command: NBD_CMD_DISC, offset: 0, length: 0 }, 0, 0),
    );
    // What still comes must not get into memory that is somebody else's by then.
    this.#socket.pause();
    if (this.#socket.writable) this.#socket.end(goodbye);
    this.#socket.destroySoon();
    this.#over = true;
    this.#lost.resolve(new ConnectionLost('the connection is closed'));
  }

  #end(error: Error): void {
    this.#socket.destroy();
    this.#over = true;
    this.#lost.resolve(error);
  }

  #header(
    { flags, command, offset, length }: Pick<NbdRequest, 'flags' | 'command' | 'offset' | 'length'>,
    high: number,
    low: number,
  ): Buffer {
    const { extended } = this.info;
    const bytes = Buffer.allocUnsafe(extended ? NBD_EXTENDED_REQUEST_SIZE : NBD_REQUEST_SIZE);
    bytes.writeUInt32BE(extended ? NBD_EXTENDED_REQUEST_MAGIC : NBD_REQUEST_MAGIC, 0);
    const payload = extended && command === NBD_CMD_WRITE ? NBD_CMD_FLAG_PAYLOAD_LEN : 0;
    bytes.writeUInt16BE(flags | payload, 4);
    bytes.writeUInt16BE(command, 6);
    bytes.writeUInt32BE(high, 8);
    bytes.writeUInt32BE(low, 12);
    bytes.writeUInt32BE(Math.floor(offset / 2 ** 32), 16);
    bytes.writeUInt32BE(offset >>> 0, 20);
    if (extended) bytes.writeUInt32BE(Math.floor(length / 2 ** 32), 24);
    bytes.writeUInt32BE(length >>> 0, extended ? 28 : 24);
    return bytes;
  }
}
