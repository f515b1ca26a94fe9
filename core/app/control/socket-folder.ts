import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { connect, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { GatewayError } from '../../api/errors.ts';

/** Longest path that fits into `sockaddr_un` (unix(7)), with its terminator. */
const MAX_PATH = 107;

/**
 * Where the gateways that share a folder of state have their control sockets: `.control/PID-XXXX.sock`. No disk can
 * have the name of the folder, since names of disks have no dots.
 */
export class SocketFolder {
  readonly #stateDir: string;
  readonly #path: string;

  constructor(stateDir: string) {
    this.#stateDir = stateDir;
    this.#path = join(stateDir, '.control');
  }

  /** Has `server` listen for this user alone. Disposing of what is returned takes the socket away. */
  async listen(server: Server): Promise<Disposable & { readonly path: string }> {
    // Disks may be served by another user, who has a folder beside this one.
    mkdirSync(this.#stateDir, { recursive: true, mode: 0o755 });
    mkdirSync(this.#path, { recursive: true, mode: 0o700 });
    const path = join(this.#path, `${process.pid}-${randomBytes(2).toString('hex')}.sock`);
    if (Buffer.byteLength(path) > MAX_PATH) throw new RangeError(`the path of a socket is too long: ${path}`);
    // Under its name it is there at once with somebody who listens: else it could be taken for a dead one.
    const fresh = path.replace(/\.sock$/, '.new');
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(fresh, resolve);
    });
    chmodSync(fresh, 0o600);
    renameSync(fresh, path);
    return { path, [Symbol.dispose]: () => rmSync(path, { force: true }) };
  }

  /** A socket for each gateway that ever listened; some may be dead. */
  paths(): string[] {
    try {
      return readdirSync(this.#path)
        .filter((name) => name.endsWith('.sock'))
        .sort()
        .map((name) => join(this.#path, name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw notAllowed(this.#path, error as NodeJS.ErrnoException);
    }
  }
}

/** Undefined when nobody listens there any more; the socket is removed then. Whoever gets a connection ends it. */
export function connectOrRemove(path: string): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', (error: NodeJS.ErrnoException) => {
      // Nobody listens any more, or the gateway has just taken it away itself.
      if (error.code === 'ECONNREFUSED') rmSync(path, { force: true });
      else if (error.code !== 'ENOENT') return reject(notAllowed(path, error));
      resolve(undefined);
    });
  });
}

function notAllowed(path: string, cause: NodeJS.ErrnoException): GatewayError {
  return new GatewayError('gateway.unreachable', `${path} cannot be used.`, {
    why: cause.message,
    fix: 'Run the command as the user that runs the gateway.',
    cause,
  });
}
