import type { Socket } from 'node:net';
import { ConnectionLost } from './connection-lost.ts';

/** More than anything that is read this way. Bytes that nobody has asked for yet. */
const MAX_BUFFERED = 1024 * 1024;

/** Reads an exact number of bytes of a socket at a time: for the negotiation, where both sides take turns. */
export class ByteReader implements Disposable {
  readonly #socket: Socket;
  readonly #chunks: Uint8Array[] = [];
  #buffered = 0;
  #failure: Error | undefined;
  #waiting: (() => void) | undefined;
  readonly #onData = (chunk: Uint8Array): void => {
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    if (this.#buffered > MAX_BUFFERED) this.#fail(new ConnectionLost('the peer sends without being asked'));
    this.#waiting?.();
  };
  readonly #onError = (error: Error): void => this.#fail(error);
  readonly #onEnd = (): void => this.#fail(new ConnectionLost('the peer closed the connection'));

  constructor(socket: Socket) {
    this.#socket = socket;
    socket
      .on('data', this.#onData)
      .on('error', this.#onError)
      .on('end', this.#onEnd)
      .on('close', this.#onEnd);
  }

  /** Bytes that were sent ahead of time. */
  get buffered(): number {
    return this.#buffered;
  }

  async take(length: number): Promise<Buffer> {
    while (this.#buffered < length) {
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#waiting = resolve;
      });
      this.#waiting = undefined;
    }
    const bytes = Buffer.concat(this.#chunks);
    this.#chunks.length = 0;
    if (bytes.length > length) this.#chunks.push(bytes.subarray(length));
    this.#buffered = bytes.length - length;
    return bytes.subarray(0, length);
  }

  /** Takes what was sent ahead of time. */
  rest(): Buffer {
    const bytes = Buffer.concat(this.#chunks);
    this.#chunks.length = 0;
    this.#buffered = 0;
    return bytes;
  }

  /** Leaves the socket to whoever comes next. */
  [Symbol.dispose](): void {
    this.#socket
      .off('data', this.#onData)
      .off('error', this.#onError)
      .off('end', this.#onEnd)
      .off('close', this.#onEnd);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#waiting?.();
  }
}
