import { type ChildProcess, spawn } from 'node:child_process';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureCephRoot } from './ceph/root.ts';
import { freePort } from './free-port.ts';

/** A running Ceph RADOS gateway: the real S3 server that tests measure themselves against. */
export interface Ceph extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`, path style. */
  readonly endpoint: string;
  readonly port: number;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Kills monitor, OSD and gateway at once, as a crash would. */
  kill9(): Promise<void>;
  /** Starts again on the same data and port. */
  restart(): Promise<void>;
}

const START_TIMEOUT_MS = 120_000;

/**
 * Starts Ceph on a random loopback port with fresh data (about 15 s). Everything runs in a PID and mount namespace of
 * its own, so that the death of one process takes all of it along and no mount is left.
 */
export async function startCeph(): Promise<Ceph> {
  const root = await ensureCephRoot((line) => process.stderr.write(`ceph: ${line}\n`));
  const data = await mkdtemp(join(tmpdir(), 'blockgate-ceph-'));
  const port = await freePort();
  const monitorPort = await freePort();
  await copyFile(join(import.meta.dirname, 'ceph', 'cluster.sh'), join(data, 'cluster.sh'));
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test-secret-key' };
  let child: ChildProcess | undefined;

  const start = async () => {
    child = launch(root, data, [
      '/data/cluster.sh',
      '/data/cluster',
      String(port),
      String(monitorPort),
      credentials.accessKeyId,
      credentials.secretAccessKey,
    ]);
    await untilReady(child);
  };
  const kill9 = async () => {
    const victim = child;
    child = undefined;
    if (!victim || victim.exitCode !== null || victim.signalCode !== null) return;
    const gone = new Promise((resolve) => victim.once('close', resolve));
    victim.kill('SIGKILL');
    await gone;
  };
  try {
    await start();
  } catch (error) {
    await kill9();
    await rm(data, { recursive: true, force: true });
    throw error;
  }
  return {
    endpoint: `http://127.0.0.1:${port}`,
    port,
    region: 'us-east-1',
    ...credentials,
    kill9,
    restart: async () => {
      await kill9();
      await start();
    },
    async [Symbol.asyncDispose]() {
      await kill9();
      await rm(data, { recursive: true, force: true });
    },
  };
}

/** The Ceph root gets its own /proc, the machine's /dev, and the data folder as /data. */
function launch(root: string, data: string, command: string[]): ChildProcess {
  const script = [
    'mount --make-rprivate /',
    `mount -t proc proc "$1/proc"`,
    `mount --rbind /dev "$1/dev"`,
    `mount --bind "$2" "$1/data"`,
    `root=$1; shift 2; exec chroot "$root" "$@"`,
  ].join(' && ');
  // The death signal covers a test runner that is killed; --kill-child everything below unshare.
  const wrapped = ['--pdeathsig', 'KILL', 'unshare', '-mpf', '--kill-child', 'bash', '-c', script, 'ceph'];
  return spawn('setpriv', [...wrapped, root, data, ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
}

function untilReady(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = '';
    const timer = setTimeout(() => fail(`not ready after ${START_TIMEOUT_MS / 1000} s`), START_TIMEOUT_MS);
    const fail = (why: string) => {
      clearTimeout(timer);
      child.kill('SIGKILL');
      reject(new Error(`Ceph did not start: ${why}\n${output}`));
    };
    const read = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-4000);
      if (!/^ready$/m.test(output)) return;
      clearTimeout(timer);
      resolve();
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.once('error', (error) => fail(error.message));
    child.once('close', (status) => fail(`it ended with status ${String(status)}`));
  });
}
