import { createServer, type Server, type Socket } from 'node:net';
import { toWire } from '../../util/wire-error.ts';
import {
  badRequest,
  type ControlRequest,
  type ControlResponse,
  decodeRequest,
  encodeResponse,
  MAX_REQUEST,
} from './protocol.ts';
import { readLine } from './read-line.ts';
import type { SocketFolder } from './socket-folder.ts';

/** More at once than any operator has terminals. */
const MAX_CONNECTIONS = 32;
/** Who connects has something to say. Milliseconds. */
const REQUEST_MS = 10_000;

export type ControlHandler = (request: ControlRequest) => Promise<unknown>;

/** A gateway's end of its control socket: one request per connection, answered when it is carried out. */
export class ControlServer implements Disposable {
  readonly #server: Server;
  readonly #handler: ControlHandler;
  readonly #connections = new Set<Socket>();
  #socket: Disposable | undefined;

  static async start(folder: SocketFolder, handler: ControlHandler): Promise<ControlServer> {
    const server = new ControlServer(handler);
    server.#socket = await folder.listen(server.#server);
    return server;
  }

  private constructor(handler: ControlHandler) {
    this.#handler = handler;
    this.#server = createServer({ allowHalfOpen: true }, (socket) => void this.#serve(socket));
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** Takes no more requests; those under way are not answered any more. */
  [Symbol.dispose](): void {
    this.#socket?.[Symbol.dispose]();
    this.#server.close();
    for (const socket of this.#connections) socket.destroy();
  }

  async #serve(socket: Socket): Promise<void> {
    this.#connections.add(socket);
    socket.once('close', () => this.#connections.delete(socket));
    // Who asked and went away gets no answer; what was asked is done all the same.
    socket.on('error', () => {});
    socket.setTimeout(REQUEST_MS, () => socket.destroy());
    try {
      const line = await readLine(socket, MAX_REQUEST);
      if (line === undefined) return void socket.destroy();
      socket.setTimeout(0);
      socket.end(encodeResponse(await this.#respond(line)));
    } catch (error) {
      socket.end(encodeResponse({ error: toWire(badRequest(String(error))) }));
    }
  }

  async #respond(line: string): Promise<ControlResponse> {
    try {
      return { result: await this.#handler(decodeRequest(line)) };
    } catch (error) {
      return { error: toWire(error) };
    }
  }
}
