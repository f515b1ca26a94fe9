import { createConnection, type NetConnectOpts, type OnReadOpts } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { AbstractConnector, type RedisOptions } from 'ioredis';

/** Bytes that are read at once. */
const BUFFER_SIZE = 128 * 1024;

/** By socket that reads into one buffer: who is told of what was read. */
const receivers = new WeakMap<Duplex, (bytes: Buffer) => void>();

/**
 * Connects ioredis to a single server by a socket that reads into the same buffer again and again: a new one for each
 * piece of data costs more than all the rest of a read.
 */
export class OneBufferConnector extends AbstractConnector {
  readonly #options: RedisOptions;
  protected override connecting = false;

  constructor(options: unknown) {
    super((options as RedisOptions).disconnectTimeout ?? 0);
    this.#options = options as RedisOptions;
  }

  override async connect(): Promise<ReturnType<typeof createConnection>> {
    const { host, port, path, tls } = this.#options;
    this.connecting = true;
    // As its own connectors do: who was told to connect may be told to disconnect in the same breath.
    await Promise.resolve();
    if (!this.connecting) throw new Error('the connection is not wanted any more');
    const onread: OnReadOpts = {
      buffer: Buffer.allocUnsafeSlow(BUFFER_SIZE),
      callback: (length, buffer) => {
        const bytes = (buffer as Buffer).subarray(0, length);
        const receive = receivers.get(stream);
        if (receive !== undefined) receive(bytes);
        // ioredis keeps what it is given.
        else stream.emit('data', Buffer.from(bytes));
        return true;
      },
    };
    const where = path == null ? { host, port } : { path };
    const stream =
      tls === undefined
        ? createConnection({ ...where, onread } as NetConnectOpts)
        : connectTls({ ...where, ...tls, ...{ onread } });
    this.stream = stream;
    stream.once('error', (error: Error) => {
      this.firstError = error;
    });
    return stream;
  }
}

/** From now on `receive` gets what `stream` reads, and nobody else; the bytes are others when it returns. */
export function receiveFrom(stream: Duplex, receive: (bytes: Buffer) => void): void {
  stream.removeAllListeners('data');
  stream.on('data', receive);
  receivers.set(stream, receive);
}
