import type { Socket } from 'node:net';
import { ByteReader } from '../../core/nbd/byte-reader.ts';
import { ConnectionLost } from '../../core/nbd/connection-lost.ts';
import {
  NBD_CLISERV_MAGIC,
  NBD_FLAG_C_FIXED_NEWSTYLE,
  NBD_FLAG_C_NO_ZEROES,
  NBD_FLAG_FIXED_NEWSTYLE,
  NBD_FLAG_NO_ZEROES,
  NBD_INFO_BLOCK_SIZE,
  NBD_INFO_DESCRIPTION,
  NBD_INFO_EXPORT,
  NBD_MAGIC,
  NBD_META_BASE_ALLOCATION,
  NBD_OPT_ABORT,
  NBD_OPT_EXPORT_NAME,
  NBD_OPT_EXTENDED_HEADERS,
  NBD_OPT_GO,
  NBD_OPT_INFO,
  NBD_OPT_LIST,
  NBD_OPT_SET_META_CONTEXT,
  NBD_OPT_STARTTLS,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_OPTS_MAGIC,
  NBD_REP_ACK,
  NBD_REP_ERR_TLS_REQD,
  NBD_REP_ERR_UNKNOWN,
  NBD_REP_ERR_UNSUP,
  NBD_REP_FLAG_ERROR,
  NBD_REP_INFO,
  NBD_REP_MAGIC,
  NBD_REP_META_CONTEXT,
  NBD_REP_SERVER,
} from '../../core/nbd/protocol.ts';
import { refused, unknownExport } from './errors.ts';
import { type ExportInfo, exportInfo, type ServerFacts } from './export-info.ts';

/** Longest reply to an option: a name and a description, each of at most 4096 bytes, and a bit. */
const MAX_REPLY = 16 * 1024;
/** Replies to one option: names of exports, mostly. */
const MAX_REPLIES = 10_000;

interface OptionReply {
  readonly type: number;
  readonly data: Buffer;
}

interface Greeting {
  readonly flags: number;
}

/** The fixed newstyle negotiation (doc/proto.md, "Handshake phase"), on a socket that has just been connected. */
export class Handshake {
  readonly #uri: string;
  #socket: Socket;
  #reader: ByteReader;

  constructor(uri: string, socket: Socket) {
    this.#uri = uri;
    this.#socket = socket;
    this.#reader = new ByteReader(socket);
  }

  /**
   * Negotiates `exportName`; the transmission phase begins then. `secure` makes a TLS socket of a plain one. Throws
   * `nbd.refused`, `nbd.unknown-export`, `nbd.unusable-export`, or `ConnectionLost`.
   */
  async negotiate(
    exportName: string,
    secure: ((socket: Socket) => Promise<Socket>) | undefined,
  ): Promise<{ socket: Socket; info: ExportInfo }> {
    const greeting = await this.#begin(secure);
    const extended = await this.#wants(NBD_OPT_EXTENDED_HEADERS);
    const structured = extended || (await this.#wants(NBD_OPT_STRUCTURED_REPLY));
    const allocationContext = structured ? await this.#allocationContext(exportName) : undefined;
    const facts =
      (await this.#factsOf(NBD_OPT_GO, exportName)) ?? (await this.#exportName(exportName, greeting));
    if (this.#reader.buffered > 0)
      throw new ConnectionLost('the server sends replies before there are requests');
    this.#reader[Symbol.dispose]();
    const info = exportInfo(this.#uri, { structured, extended, allocationContext, ...facts });
    return { socket: this.#socket, info };
  }

  /**
   * What the server says of `exportName`, and goodbye: nothing is opened there. Of one that cannot say it without, undefined.
   * Throws as `negotiate` does.
   */
  async inquire(
    exportName: string,
    secure: ((socket: Socket) => Promise<Socket>) | undefined,
  ): Promise<ExportInfo | undefined> {
    await this.#begin(secure);
    const facts = await this.#factsOf(NBD_OPT_INFO, exportName);
    if (facts !== undefined) this.#ask(NBD_OPT_ABORT);
    this.#reader[Symbol.dispose]();
    this.#socket.destroySoon();
    // nbd-server answers 0 for what it has not opened.
    if (facts === undefined || facts.size === 0n) return undefined;
    return exportInfo(this.#uri, { structured: false, extended: false, ...facts });
  }

  async #begin(secure: ((socket: Socket) => Promise<Socket>) | undefined): Promise<Greeting> {
    const greeting = await this.#greet();
    if (secure !== undefined) await this.#startTls(secure);
    return greeting;
  }

  async #greet(): Promise<Greeting> {
    const bytes = await this.#reader.take(18);
    if (bytes.readBigUInt64BE(0) !== NBD_MAGIC)
      throw refused(this.#uri, 'Who answers there is no NBD server.');
    const style = bytes.readBigUInt64BE(8);
    const flags = bytes.readUInt16BE(16);
    if (style === NBD_CLISERV_MAGIC || style !== NBD_OPTS_MAGIC || (flags & NBD_FLAG_FIXED_NEWSTYLE) === 0)
      throw refused(this.#uri, 'It speaks an older protocol than fixed newstyle, from before 2012.');
    const answer = Buffer.alloc(4);
    const noZeroes = (flags & NBD_FLAG_NO_ZEROES) === 0 ? 0 : NBD_FLAG_C_NO_ZEROES;
    answer.writeUInt32BE(NBD_FLAG_C_FIXED_NEWSTYLE | noZeroes);
    this.#socket.write(answer);
    return { flags };
  }

  async #startTls(secure: (socket: Socket) => Promise<Socket>): Promise<void> {
    this.#ask(NBD_OPT_STARTTLS);
    const reply = await this.#reply(NBD_OPT_STARTTLS);
    if (reply.type !== NBD_REP_ACK) throw refused(this.#uri, `It has no TLS.${messageOf(reply)}`);
    // Whatever came in the clear after the answer was put there by somebody in between.
    if (this.#reader.buffered > 0)
      throw refused(this.#uri, 'Something was sent in the clear where TLS begins.');
    this.#reader[Symbol.dispose]();
    this.#socket = await secure(this.#socket);
    this.#reader = new ByteReader(this.#socket);
  }

  /** Asks for an option without data; false when the server has not got it. */
  async #wants(option: number): Promise<boolean> {
    this.#ask(option);
    const reply = await this.#reply(option);
    if (reply.type === NBD_REP_ERR_TLS_REQD) throw this.#tlsRequired();
    return reply.type === NBD_REP_ACK;
  }

  async #allocationContext(exportName: string): Promise<number | undefined> {
    this.#ask(NBD_OPT_SET_META_CONTEXT, text(exportName), u32(1), text(NBD_META_BASE_ALLOCATION));
    let context: number | undefined;
    for await (const { type, data } of this.#replies(NBD_OPT_SET_META_CONTEXT)) {
      if (type !== NBD_REP_META_CONTEXT || data.length < 4) continue;
      if (data.toString('utf8', 4) === NBD_META_BASE_ALLOCATION) context = data.readUInt32BE(0);
    }
    return context;
  }

  /** `NBD_OPT_INFO`, or `NBD_OPT_GO`, which opens it as well. Undefined when the server does not know this option. */
  async #factsOf(
    option: number,
    exportName: string,
  ): Promise<Omit<ServerFacts, 'structured' | 'extended'> | undefined> {
    const wanted = Buffer.alloc(6);
    wanted.writeUInt16BE(2, 0);
    wanted.writeUInt16BE(NBD_INFO_BLOCK_SIZE, 2);
    wanted.writeUInt16BE(NBD_INFO_DESCRIPTION, 4);
    this.#ask(option, text(exportName), wanted);
    let facts: Partial<ServerFacts> = {};
    let last: OptionReply | undefined;
    for await (const reply of this.#replies(option)) {
      last = reply;
      if (reply.type === NBD_REP_INFO) facts = { ...facts, ...factOf(reply.data) };
    }
    if (last!.type === NBD_REP_ERR_UNSUP) return undefined;
    if (last!.type === NBD_REP_ERR_UNKNOWN) throw unknownExport(this.#uri, await this.#list());
    if (last!.type === NBD_REP_ERR_TLS_REQD) throw this.#tlsRequired();
    if (last!.type !== NBD_REP_ACK)
      throw refused(this.#uri, `It does not give out the export.${messageOf(last!)}`);
    const { size, flags } = facts;
    if (size === undefined || flags === undefined)
      throw new ConnectionLost('the server does not say how large the export is');
    return { ...facts, size, flags };
  }

  /** The only way of older servers, which close the connection rather than say no. */
  async #exportName(
    exportName: string,
    { flags }: Greeting,
  ): Promise<Omit<ServerFacts, 'structured' | 'extended'>> {
    this.#ask(NBD_OPT_EXPORT_NAME, Buffer.from(exportName));
    const bytes = await this.#reader
      .take((flags & NBD_FLAG_NO_ZEROES) === 0 ? 134 : 10)
      .catch((error: unknown) => {
        throw error instanceof ConnectionLost ? unknownExport(this.#uri, undefined) : error;
      });
    return { size: bytes.readBigUInt64BE(0), flags: bytes.readUInt16BE(8) };
  }

  async #list(): Promise<string[] | undefined> {
    this.#ask(NBD_OPT_LIST);
    const names: string[] = [];
    for await (const { type, data } of this.#replies(NBD_OPT_LIST)) {
      if ((type & NBD_REP_FLAG_ERROR) !== 0) return undefined;
      if (type !== NBD_REP_SERVER || data.length < 4) continue;
      names.push(data.toString('utf8', 4, 4 + Math.min(data.readUInt32BE(0), data.length - 4)));
    }
    return names;
  }

  #ask(option: number, ...data: readonly Uint8Array[]): void {
    const body = Buffer.concat(data);
    const header = Buffer.alloc(16);
    header.writeBigUInt64BE(NBD_OPTS_MAGIC, 0);
    header.writeUInt32BE(option, 8);
    header.writeUInt32BE(body.length, 12);
    this.#socket.write(Buffer.concat([header, body]));
  }

  /** All replies to an option, the last one, an acknowledgement or an error, included. */
  async *#replies(option: number): AsyncGenerator<OptionReply> {
    for (let count = 0; count < MAX_REPLIES; count++) {
      const reply = await this.#reply(option);
      yield reply;
      if (reply.type === NBD_REP_ACK || (reply.type & NBD_REP_FLAG_ERROR) !== 0) return;
    }
    throw new ConnectionLost(`the server does not come to an end with its replies to option ${option}`);
  }

  async #reply(option: number): Promise<OptionReply> {
    const header = await this.#reader.take(20);
    if (header.readBigUInt64BE(0) !== NBD_REP_MAGIC || header.readUInt32BE(8) !== option)
      throw new ConnectionLost(`the server does not answer option ${option}`);
    const length = header.readUInt32BE(16);
    if (length > MAX_REPLY)
      throw new ConnectionLost(`the server answers option ${option} with ${length} bytes`);
    return { type: header.readUInt32BE(12), data: await this.#reader.take(length) };
  }

  #tlsRequired(): Error {
    return refused(this.#uri, 'It wants TLS: the URI has to begin with "nbds".');
  }
}

/** One NBD_REP_INFO. What is malformed or unknown says nothing. */
function factOf(data: Buffer): Partial<ServerFacts> {
  const type = data.length < 2 ? -1 : data.readUInt16BE(0);
  if (type === NBD_INFO_EXPORT && data.length === 12)
    return { size: data.readBigUInt64BE(2), flags: data.readUInt16BE(10) };
  if (type === NBD_INFO_BLOCK_SIZE && data.length === 14) {
    const [minBlock, preferredBlock, maxBlock] = [
      data.readUInt32BE(2),
      data.readUInt32BE(6),
      data.readUInt32BE(10),
    ];
    return { minBlock, preferredBlock, maxBlock };
  }
  if (type === NBD_INFO_DESCRIPTION) return { description: data.toString('utf8', 2) };
  return {};
}

/** An error of an option may come with an explanation. */
function messageOf({ type, data }: OptionReply): string {
  const message =
    (type & NBD_REP_FLAG_ERROR) === 0
      ? ''
      : data
          .toString('utf8')
          .replace(/[^\x20-\x7e]+/g, ' ')
          .trim();
  return message === '' ? '' : ` It says: ${message}`;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A string with its length before it. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u32(bytes.length), bytes]);
}
