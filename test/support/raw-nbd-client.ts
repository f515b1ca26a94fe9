import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { ByteReader } from '../../core/nbd/byte-reader.ts';
import {
  NBD_OPT_EXTENDED_HEADERS,
  NBD_OPT_GO,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_OPTS_MAGIC,
  NBD_REP_ACK,
  NBD_REP_FLAG_ERROR,
  NBD_REQUEST_MAGIC,
} from '../../core/nbd/protocol.ts';
import { join, u16, u32, u64 } from './scripted-nbd-server.ts';

export interface RawReply {
  readonly type: number;
  readonly data: Buffer;
}

/** A client that sends what a test says, right or wrong, byte by byte. */
export class RawNbdClient implements Disposable {
  readonly socket: Socket;
  readonly reader: ByteReader;
  readonly closed: Promise<unknown>;

  private constructor(socket: Socket) {
    this.socket = socket;
    this.reader = new ByteReader(socket);
    socket.on('error', () => {});
    this.closed = once(socket, 'close');
  }

  /** Connected and greeted. */
  static async connect(path: string, flags = 3): Promise<RawNbdClient> {
    const socket = connect(path);
    const client = new RawNbdClient(socket);
    await client.reader.take(18);
    client.send(u32(flags));
    return client;
  }

  send(...parts: readonly Uint8Array[]): void {
    this.socket.write(join(...parts));
  }

  /** All replies to an option. */
  async option(option: number, data: Buffer = Buffer.alloc(0)): Promise<RawReply[]> {
    this.send(u64(NBD_OPTS_MAGIC), u32(option), u32(data.length), data);
    const replies: RawReply[] = [];
    for (;;) {
      const header = await this.reader.take(20);
      const type = header.readUInt32BE(12);
      replies.push({ type, data: await this.reader.take(header.readUInt32BE(16)) });
      if (type === NBD_REP_ACK || (type & NBD_REP_FLAG_ERROR) !== 0) return replies;
    }
  }

  /** To the transmission phase. */
  async go(format: 'simple' | 'structured' | 'extended' = 'simple', name = ''): Promise<void> {
    if (format === 'structured') await this.option(NBD_OPT_STRUCTURED_REPLY);
    if (format === 'extended') await this.option(NBD_OPT_EXTENDED_HEADERS);
    await this.option(NBD_OPT_GO, join(u32(name.length), Buffer.from(name), u16(0)));
  }

  request(
    command: number,
    offset: number,
    length: number,
    data: Uint8Array = Buffer.alloc(0),
    flags = 0,
    cookie = 1,
  ): void {
    const header = [u32(NBD_REQUEST_MAGIC), u16(flags), u16(command), u64(BigInt(cookie))];
    this.send(...header, u64(BigInt(offset)), u32(length), data);
  }

  /** A simple reply: its error, and which request it is for. */
  async reply(length = 0): Promise<{ error: number; cookie: number; data: Buffer }> {
    const header = await this.reader.take(16);
    const error = header.readUInt32BE(4);
    const data = await this.reader.take(error === 0 ? length : 0);
    return { error, cookie: Number(header.readBigUInt64BE(8)), data };
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}
