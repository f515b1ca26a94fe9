import { once } from 'node:events';
import { chmod, rm } from 'node:fs/promises';
import { connect, createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import { GatewayError } from '../../core/api/errors.ts';
import type { TcpAddress } from './address.ts';
import { addressInUse, cannotListen } from './errors.ts';

/** Where clients come from. */
export type Endpoint =
  | TcpAddress
  | {
      /** A Unix socket. */
      readonly path: string;
      /** Its permissions. */
      readonly mode: number;
    };

/** Listens until its disposal, which leaves the connections alone. Throws `nbd.address-in-use` or `nbd.cannot-listen`. */
export async function listenAt(
  endpoint: Endpoint,
  onConnection: (socket: Socket) => void,
): Promise<AsyncDisposable> {
  const server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true }, onConnection);
  if ('path' in endpoint) {
    const { path, mode } = endpoint;
    await listen(server, { path }, path).catch(async (error: unknown) => {
      if (!isInUse(error) || (await isAnswered(path))) throw error;
      // A process that was killed left it.
      await rm(path, { force: true });
      await listen(server, { path }, path);
    });
    await chmod(path, mode);
  } else {
    const { host, port } = endpoint;
    await listen(server, { host, port }, `${host}, port ${port}`);
  }
  return {
    // Closing it removes the Unix socket.
    async [Symbol.asyncDispose]() {
      server.close();
    },
  };
}

async function listen(server: Server, options: ListenOptions, where: string): Promise<void> {
  try {
    server.listen(options);
    await once(server, 'listening');
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
      ? addressInUse(where)
      : cannotListen(where, error);
  }
}

const isInUse = (error: unknown): boolean => GatewayError.is(error) && error.code === 'nbd.address-in-use';

/** Somebody listens at this Unix socket. */
async function isAnswered(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
