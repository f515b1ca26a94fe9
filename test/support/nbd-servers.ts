import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A real NBD server in a process of its own. */
export class NbdServerProcess implements AsyncDisposable {
  readonly #command: readonly string[];
  readonly #socket: string;
  #child: ChildProcess | undefined;
  #said = '';

  private constructor(command: readonly string[], socket: string) {
    this.#command = command;
    this.#socket = socket;
  }

  /** Settles when it accepts connections on the Unix socket. */
  static async start(command: readonly string[], socket: string): Promise<NbdServerProcess> {
    const server = new NbdServerProcess(command, socket);
    await server.start();
    return server;
  }

  async start(): Promise<void> {
    const [program, ...args] = this.#command;
    // A server that was killed leaves it.
    await rm(this.#socket, { force: true });
    const child = spawn(program!, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr.on('data', (text: Buffer) => {
      this.#said += text.toString();
    });
    this.#child = child;
    for (let attempt = 0; !(await accepts(this.#socket)); attempt++) {
      if (child.exitCode !== null || attempt === 200)
        throw new Error(`${program} did not start: ${this.#said}`);
      await delay(25);
    }
  }

  /** Ends it as a crash would; its socket stays. */
  async kill9(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill9();
  }
}

async function accepts(path: string): Promise<boolean> {
  if (!existsSync(path)) return false;
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

/** Certificates of an authority, a server called localhost, and a client, as nbdkit wants them. */
export async function makeCertificates(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const openssl = (...args: string[]) => run('openssl', args, { cwd: folder });
  await openssl(
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=test authority'],
    ...['-keyout', 'ca-key.pem', '-out', 'ca-cert.pem'],
  );
  await writeFile(`${folder}/names`, 'subjectAltName=DNS:localhost,IP:127.0.0.1');
  for (const name of ['server', 'client']) {
    await openssl(
      ...['req', '-newkey', 'rsa:2048', '-nodes', '-subj', `/CN=${name}`],
      ...['-keyout', `${name}-key.pem`, '-out', `${name}.csr`],
    );
    await openssl(
      ...[
        'x509',
        '-req',
        '-in',
        `${name}.csr`,
        '-CA',
        'ca-cert.pem',
        '-CAkey',
        'ca-key.pem',
        '-CAcreateserial',
      ],
      ...['-days', '2', '-extfile', 'names', '-out', `${name}-cert.pem`],
    );
  }
}

/** A file with the key of one user, as GnuTLS wants it. */
export async function makePsk(file: string, user: string, key: string): Promise<void> {
  await writeFile(file, `${user}:${key}\n`);
  await chmod(file, 0o600);
}
