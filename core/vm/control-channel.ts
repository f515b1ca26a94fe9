import { createServer, type Server, type Socket } from 'node:net';
import { LineSplitter } from './line-splitter.ts';

/** What the guest's agent says. */
export type AgentMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'exit'; readonly id: number; readonly status: number };

/** Reads one line of the agent; undefined if it is none of its messages. */
export function parseAgentMessage(line: string): AgentMessage | undefined {
  if (line === 'ready') return { kind: 'ready' };
  const exit = /^exit (\d+) (\d+)$/.exec(line);
  return exit ? { kind: 'exit', id: Number(exit[1]), status: Number(exit[2]) } : undefined;
}

/** The host's end of the virtio-serial port: lines of text both ways. See guest-agent.sh for the words. */
export class ControlChannel implements Disposable {
  readonly #server: Server;
  #socket: Socket | undefined;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Listens at `path` for QEMU to connect; `onMessage` gets every message of the agent, in order. */
  static async listen(path: string, onMessage: (message: AgentMessage) => void): Promise<ControlChannel> {
    const server = createServer();
    const channel = new ControlChannel(server);
    server.on('connection', (socket) => {
      channel.#socket = socket;
      const lines = new LineSplitter((line) => {
        const message = parseAgentMessage(line);
        if (message) onMessage(message);
      });
      socket.on('data', (chunk: Buffer) => lines.push(chunk));
      // A broken connection means that QEMU ended, which its owner sees by itself.
      socket.on('error', () => {});
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    return channel;
  }

  send(line: string): void {
    this.#socket?.write(`${line}\n`);
  }

  [Symbol.dispose](): void {
    this.#socket?.destroy();
    this.#server.close();
  }
}
