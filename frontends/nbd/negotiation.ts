import type { Socket } from 'node:net';
import { ByteReader } from '../../core/nbd/byte-reader.ts';
import { ConnectionLost } from '../../core/nbd/connection-lost.ts';
import {
  NBD_FLAG_C_FIXED_NEWSTYLE,
  NBD_FLAG_C_NO_ZEROES,
  NBD_FLAG_FIXED_NEWSTYLE,
  NBD_FLAG_NO_ZEROES,
  NBD_MAGIC,
  NBD_MAX_STRING_SIZE,
  NBD_OPT_ABORT,
  NBD_OPT_EXPORT_NAME,
  NBD_OPT_EXTENDED_HEADERS,
  NBD_OPT_GO,
  NBD_OPT_INFO,
  NBD_OPT_LIST,
  NBD_OPT_LIST_META_CONTEXT,
  NBD_OPT_SET_META_CONTEXT,
  NBD_OPT_STARTTLS,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_OPTS_MAGIC,
  NBD_REP_ACK,
  NBD_REP_ERR_EXT_HEADER_REQD,
  NBD_REP_ERR_INVALID,
  NBD_REP_ERR_POLICY,
  NBD_REP_ERR_TLS_REQD,
  NBD_REP_ERR_UNKNOWN,
  NBD_REP_ERR_UNSUP,
  NBD_REP_INFO,
  NBD_REP_MAGIC,
  NBD_REP_META_CONTEXT,
  NBD_REP_SERVER,
} from '../../core/nbd/protocol.ts';
import type { ExportOffer } from './export-offer.ts';
import { exportFacts, matchesAllocation, parseInfoRequest, parseMetaRequest, u32 } from './options.ts';

/** Longest data of an option: a name and many queries. Bytes. */
const MAX_OPTION = 64 * 1024;
/** A client that is not done by then never will be. */
const MAX_OPTIONS = 1000;
/** What this server calls the context base:allocation. */
const ALLOCATION_CONTEXT = 1;

export interface Negotiated {
  /** The socket that was given, or the TLS socket around it. */
  readonly socket: Socket;
  readonly structured: boolean;
  readonly extended: boolean;
  /** Id of base:allocation, if the client has asked for it. */
  readonly allocationContext: number | undefined;
  /** What the client has sent of the transmission phase already. */
  readonly rest: Buffer;
}

/** Makes a TLS socket of a plain one; throws when the client does not get that far. */
export type Secure = (socket: Socket) => Promise<Socket>;

/** The server's side of the fixed newstyle negotiation (doc/proto.md, "Handshake phase") on a new connection. */
export class Negotiation {
  readonly #offer: ExportOffer;
  readonly #secure: Secure | undefined;
  #socket: Socket;
  #reader: ByteReader;
  #isSecure = false;
  #structured = false;
  #extended = false;
  /** base:allocation was asked for. There is one export, so it is that one's. */
  #allocation = false;

  /** With `secure`, nothing is told to a client before it uses TLS. */
  constructor(socket: Socket, offer: ExportOffer, secure: Secure | undefined) {
    this.#socket = socket;
    this.#reader = new ByteReader(socket);
    this.#offer = offer;
    this.#secure = secure;
  }

  /** Undefined when the client leaves as it should. Throws `ConnectionLost` when it does not keep to the protocol. */
  async run(): Promise<Negotiated | undefined> {
    const greeting = Buffer.alloc(18);
    greeting.writeBigUInt64BE(NBD_MAGIC, 0);
    greeting.writeBigUInt64BE(NBD_OPTS_MAGIC, 8);
    greeting.writeUInt16BE(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES, 16);
    this.#socket.write(greeting);
    const clientFlags = (await this.#reader.take(4)).readUInt32BE(0);
    if ((clientFlags & ~(NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES)) !== 0)
      throw new ConnectionLost(`the client has unknown flags 0x${clientFlags.toString(16)}`);
    for (let count = 0; count < MAX_OPTIONS; count++) {
      const { option, data } = await this.#option();
      if (option === NBD_OPT_ABORT) {
        this.#reply(option, NBD_REP_ACK);
        return undefined;
      }
      if (await this.#answer(option, data, clientFlags)) return this.#finish();
    }
    throw new ConnectionLost(`the client negotiates without end (${MAX_OPTIONS} options)`);
  }

  #finish(): Negotiated {
    const rest = this.#reader.rest();
    this.#reader[Symbol.dispose]();
    return {
      socket: this.#socket,
      structured: this.#structured,
      extended: this.#extended,
      allocationContext: this.#allocation ? ALLOCATION_CONTEXT : undefined,
      rest,
    };
  }

  async #option(): Promise<{ option: number; data: Buffer }> {
    const header = await this.#reader.take(16);
    if (header.readBigUInt64BE(0) !== NBD_OPTS_MAGIC)
      throw new ConnectionLost('an option does not begin with IHAVEOPT');
    const length = header.readUInt32BE(12);
    if (length > MAX_OPTION) throw new ConnectionLost(`an option has ${length} bytes`);
    return { option: header.readUInt32BE(8), data: await this.#reader.take(length) };
  }

  /** True: the transmission phase begins. */
  async #answer(option: number, data: Buffer, clientFlags: number): Promise<boolean> {
    if (this.#secure !== undefined && !this.#isSecure && option !== NBD_OPT_STARTTLS) {
      // There is no other way to say no to this one.
      if (option === NBD_OPT_EXPORT_NAME) throw new ConnectionLost('the client does not use TLS');
      this.#reply(option, NBD_REP_ERR_TLS_REQD, 'This server wants TLS.');
      return false;
    }
    switch (option) {
      case NBD_OPT_EXPORT_NAME:
        return this.#exportName(data, clientFlags);
      case NBD_OPT_GO:
      case NBD_OPT_INFO:
        return this.#info(option, data) && option === NBD_OPT_GO;
      case NBD_OPT_LIST:
        this.#list(data);
        return false;
      case NBD_OPT_STARTTLS:
        await this.#startTls(data);
        return false;
      case NBD_OPT_STRUCTURED_REPLY:
      case NBD_OPT_EXTENDED_HEADERS:
        this.#replyFormat(option, data);
        return false;
      case NBD_OPT_SET_META_CONTEXT:
      case NBD_OPT_LIST_META_CONTEXT:
        this.#metaContext(option, data);
        return false;
      default:
        this.#reply(option, NBD_REP_ERR_UNSUP, `This server does not know option ${option}.`);
        return false;
    }
  }

  #exportName(data: Buffer, clientFlags: number): true {
    const name = data.toString();
    if (!this.#isOurs(name)) throw new ConnectionLost(`there is no export ${JSON.stringify(name)}`);
    const { size, flags } = this.#offer;
    const zeroes = (clientFlags & NBD_FLAG_C_NO_ZEROES) === 0 ? 124 : 0;
    const bytes = Buffer.alloc(10 + zeroes);
    bytes.writeBigUInt64BE(BigInt(size), 0);
    bytes.writeUInt16BE(flags(this.#structured), 8);
    this.#socket.write(bytes);
    return true;
  }

  /** False: the client was told why not. */
  #info(option: number, data: Buffer): boolean {
    const request = parseInfoRequest(data);
    if (request === undefined) return this.#invalid(option);
    if (!this.#isOurs(request.name)) return this.#unknown(option, request.name);
    for (const fact of exportFacts(this.#offer, this.#structured, request.wanted))
      this.#reply(option, NBD_REP_INFO, fact);
    this.#reply(option, NBD_REP_ACK);
    return true;
  }

  #list(data: Buffer): void {
    if (data.length > 0) return void this.#invalid(NBD_OPT_LIST);
    const name = Buffer.from(this.#offer.name);
    this.#reply(NBD_OPT_LIST, NBD_REP_SERVER, Buffer.concat([u32(name.length), name]));
    this.#reply(NBD_OPT_LIST, NBD_REP_ACK);
  }

  async #startTls(data: Buffer): Promise<void> {
    const option = NBD_OPT_STARTTLS;
    if (data.length > 0) return void this.#invalid(option);
    if (this.#secure === undefined) return this.#reply(option, NBD_REP_ERR_POLICY, 'This server has no TLS.');
    if (this.#isSecure) return void this.#invalid(option);
    // What comes in the clear where TLS begins was put there by somebody in between.
    if (this.#reader.buffered > 0)
      throw new ConnectionLost('something was sent in the clear where TLS begins');
    this.#reply(option, NBD_REP_ACK);
    this.#reader[Symbol.dispose]();
    this.#socket = await this.#secure(this.#socket);
    this.#reader = new ByteReader(this.#socket);
    this.#isSecure = true;
  }

  #replyFormat(option: number, data: Buffer): void {
    if (data.length > 0) {
      this.#invalid(option);
      return;
    }
    if (option === NBD_OPT_STRUCTURED_REPLY && this.#extended) {
      this.#reply(option, NBD_REP_ERR_EXT_HEADER_REQD, 'Extended headers are agreed on already.');
      return;
    }
    this.#structured = true;
    if (option === NBD_OPT_EXTENDED_HEADERS) this.#extended = true;
    this.#reply(option, NBD_REP_ACK);
  }

  #metaContext(option: number, data: Buffer): void {
    const setting = option === NBD_OPT_SET_META_CONTEXT;
    // Even a request that fails undoes what an earlier one has set.
    if (setting) this.#allocation = false;
    const request = parseMetaRequest(data);
    if (request === undefined || (setting && !this.#structured)) return void this.#invalid(option);
    if (!this.#isOurs(request.name)) return void this.#unknown(option, request.name);
    if (matchesAllocation(request.queries, setting)) {
      if (setting) this.#allocation = true;
      const context = Buffer.concat([u32(setting ? ALLOCATION_CONTEXT : 0), Buffer.from('base:allocation')]);
      this.#reply(option, NBD_REP_META_CONTEXT, context);
    }
    this.#reply(option, NBD_REP_ACK);
  }

  /** The export that nobody names is the only one there is. */
  #isOurs(name: string): boolean {
    return name === '' || name === this.#offer.name;
  }

  #invalid(option: number): false {
    this.#reply(option, NBD_REP_ERR_INVALID, 'The option is malformed, or not possible now.');
    return false;
  }

  #unknown(option: number, name: string): false {
    const text = `There is no export ${JSON.stringify(name)}.`;
    this.#reply(option, NBD_REP_ERR_UNKNOWN, text.slice(0, NBD_MAX_STRING_SIZE));
    return false;
  }

  #reply(option: number, type: number, data: Buffer | string = Buffer.alloc(0)): void {
    const body = typeof data === 'string' ? Buffer.from(data) : data;
    const header = Buffer.alloc(20);
    header.writeBigUInt64BE(NBD_REP_MAGIC, 0);
    header.writeUInt32BE(option, 8);
    header.writeUInt32BE(type, 12);
    header.writeUInt32BE(body.length, 16);
    this.#socket.write(Buffer.concat([header, body]));
  }
}
