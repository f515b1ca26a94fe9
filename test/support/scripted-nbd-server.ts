import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { ByteReader } from '../../core/nbd/byte-reader.ts';
import {
  NBD_CMD_DISC,
  NBD_CMD_WRITE,
  NBD_EXTENDED_REPLY_MAGIC,
  NBD_FLAG_HAS_FLAGS,
  NBD_FLAG_SEND_FLUSH,
  NBD_MAGIC,
  NBD_OPT_GO,
  NBD_OPT_INFO,
  NBD_OPT_SET_META_CONTEXT,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_OPTS_MAGIC,
  NBD_REP_ACK,
  NBD_REP_ERR_UNSUP,
  NBD_REP_INFO,
  NBD_REP_MAGIC,
  NBD_REP_META_CONTEXT,
  NBD_REPLY_FLAG_DONE,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_STRUCTURED_REPLY_MAGIC,
} from '../../core/nbd/protocol.ts';

export const CONTEXT = 7;

export interface ScriptedRequest {
  readonly command: number;
  readonly flags: number;
  readonly cookie: Buffer;
  readonly offset: number;
  readonly length: number;
  readonly data: Buffer;
}

export interface NbdScript {
  readonly size: number;
  readonly structured: boolean;
  readonly flags?: number;
  /** It knows `NBD_OPT_INFO`. Default: it does. */
  readonly hasInfo?: boolean;
  /** In place of the greeting and all that follows, on connection `nth`, from 0 on. */
  greet?(socket: Socket, nth: number): boolean;
  /** In place of the answer to an option; undefined: as usual. */
  option?(option: number): Buffer | undefined;
  /** What is sent for a request. Undefined: nothing. */
  answer(request: ScriptedRequest, nth: number): Buffer | undefined;
  /** The server sends one byte at a time. */
  readonly drips?: boolean;
  /** The server sends so many bytes at a time, with a pause after each. */
  readonly pieces?: number;
  /** Once the first request of connection `nth` is answered. */
  later?(socket: Socket, nth: number): void;
}

/** An NBD server that does what a test says, right or wrong. */
export class ScriptedNbdServer implements AsyncDisposable {
  readonly path: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #connections = 0;

  private constructor(path: string, script: NbdScript) {
    this.path = path;
    this.#server = createServer((socket) => {
      const nth = this.#connections++;
      this.#sockets.add(socket);
      socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
      void serve(socket, script, nth).catch(() => socket.destroy());
    });
  }

  static async start(path: string, script: NbdScript): Promise<ScriptedNbdServer> {
    const server = new ScriptedNbdServer(path, script);
    server.#server.listen(path);
    await once(server.#server, 'listening');
    return server;
  }

  get connections(): number {
    return this.#connections;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

async function serve(socket: Socket, script: NbdScript, nth: number): Promise<void> {
  const reader = new ByteReader(socket);
  const send = (bytes: Uint8Array): void => {
    if (script.pieces !== undefined) void sendSlowly(socket, bytes, script.pieces);
    else if (!script.drips) socket.write(bytes);
    else for (const byte of bytes) socket.write(Uint8Array.of(byte));
  };
  if (script.greet?.(socket, nth)) return;
  send(join(u64(NBD_MAGIC), u64(NBD_OPTS_MAGIC), u16(3)));
  await reader.take(4);
  for (let option = 0; option !== NBD_OPT_GO; ) {
    const header = await reader.take(16);
    option = header.readUInt32BE(8);
    await reader.take(header.readUInt32BE(12));
    send(script.option?.(option) ?? usual(option, script));
  }
  for (;;) {
    const header = await reader.take(28);
    const command = header.readUInt16BE(6);
    const length = header.readUInt32BE(24);
    if (command === NBD_CMD_DISC) return;
    const data = command === NBD_CMD_WRITE ? await reader.take(length) : Buffer.alloc(0);
    const flags = header.readUInt16BE(4);
    const offset = Number(header.readBigUInt64BE(16));
    const cookie = Buffer.from(header.subarray(8, 16));
    const bytes = script.answer({ command, flags, cookie, offset, length, data }, nth);
    if (bytes !== undefined) send(bytes);
    script.later?.(socket, nth);
  }
}

async function sendSlowly(socket: Socket, bytes: Uint8Array, size: number): Promise<void> {
  for (let at = 0; at < bytes.length; at += size) {
    socket.write(bytes.subarray(at, at + size));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function usual(option: number, script: NbdScript): Buffer {
  const flags = script.flags ?? NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH;
  switch (option) {
    case NBD_OPT_STRUCTURED_REPLY:
      return optionReply(option, script.structured ? NBD_REP_ACK : NBD_REP_ERR_UNSUP);
    case NBD_OPT_SET_META_CONTEXT:
      return join(
        optionReply(option, NBD_REP_META_CONTEXT, join(u32(CONTEXT), Buffer.from('base:allocation'))),
        optionReply(option, NBD_REP_ACK),
      );
    case NBD_OPT_INFO:
    case NBD_OPT_GO:
      if (option === NBD_OPT_INFO && script.hasInfo === false) return optionReply(option, NBD_REP_ERR_UNSUP);
      return join(
        optionReply(option, NBD_REP_INFO, join(u16(0), u64(BigInt(script.size)), u16(flags))),
        optionReply(option, NBD_REP_ACK),
      );
    default:
      return optionReply(option, NBD_REP_ERR_UNSUP);
  }
}

export function optionReply(option: number, type: number, data: Buffer = Buffer.alloc(0)): Buffer {
  return join(u64(NBD_REP_MAGIC), u32(option), u32(type), u32(data.length), data);
}

export function simpleReply(cookie: Buffer, error: number, data: Buffer = Buffer.alloc(0)): Buffer {
  return join(u32(NBD_SIMPLE_REPLY_MAGIC), u32(error), cookie, data);
}

export function chunk(
  cookie: Buffer,
  type: number,
  data: Buffer,
  flags: number = NBD_REPLY_FLAG_DONE,
): Buffer {
  return join(u32(NBD_STRUCTURED_REPLY_MAGIC), u16(flags), u16(type), cookie, u32(data.length), data);
}

/** The same with an extended header. */
export function extendedChunk(
  cookie: Buffer,
  type: number,
  data: Buffer,
  flags: number = NBD_REPLY_FLAG_DONE,
): Buffer {
  const length = u64(BigInt(data.length));
  return join(u32(NBD_EXTENDED_REPLY_MAGIC), u16(flags), u16(type), cookie, u64(0n), length, data);
}

export const join = (...parts: readonly Uint8Array[]): Buffer => Buffer.concat(parts);

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}
