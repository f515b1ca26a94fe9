import { mkdir, stat } from 'node:fs/promises';
import { createConnection, createServer, type Server } from 'node:net';
import { GatewayError } from '../api/errors.ts';

/**
 * Exclusive ownership of a data folder: a listening Unix socket in Linux's abstract name space, named after the
 * folder's device and inode. The kernel takes it away with the process, however that ends, so that there is no stale
 * lock to clean up. It is visible within one network name space: containers that share a folder are not kept apart.
 */
export class DataLock implements AsyncDisposable {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Creates the folder if need be. Throws `s3-server.data-in-use` when another server owns it. */
  static async acquire(dataDir: string): Promise<DataLock> {
    const { dev, ino } = await identify(dataDir);
    const name = `\0blockgate-s3-server/${dev}/${ino}`;
    // Whoever connects learns who holds the folder.
    const server = createServer((socket) => socket.on('error', () => {}).end(`process ${process.pid}`));
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(name, resolve);
      });
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw cause;
      throw new GatewayError(
        's3-server.data-in-use',
        `Another S3 server is using the data folder ${dataDir}.`,
        {
          why: `${await askOwner(name)} holds it, and two servers on one folder would overwrite each other's objects.`,
          fix: 'Stop the other server, or give this one a data folder of its own.',
          cause,
        },
      );
    }
    server.unref();
    return new DataLock(server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

async function identify(dataDir: string): Promise<{ dev: bigint; ino: bigint }> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    return await stat(dataDir, { bigint: true });
  } catch (cause) {
    throw new GatewayError('s3-server.data-unusable', `The data folder ${dataDir} cannot be used.`, {
      why: (cause as Error).message,
      fix: 'Name a folder that this user may create and write.',
      cause,
    });
  }
}

function askOwner(name: string): Promise<string> {
  return new Promise((resolve) => {
    const unknown = () => resolve('Another process');
    const socket = createConnection(name);
    socket.setTimeout(1000, () => socket.destroy(new Error('no answer')));
    socket
      .once('data', (data) => resolve(data.toString().replace(/^p/, 'P')))
      .once('error', unknown)
      .once('close', unknown);
  });
}
