import { readFile, stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { GatewayError } from '../api/errors.ts';
import { HostProcess } from './host-process.ts';
import { runCommand } from './run-command.ts';
import { shellQuote } from './shell-quote.ts';

/** Where Debian 12's qemu-system-common puts it; not on PATH. */
const VIRTIOFSD = '/usr/lib/qemu/virtiofsd';
const START_TIMEOUT_MS = 10_000;

/** A folder of the host that the guest mounts under the name `tag`. */
export interface SharedFolder {
  readonly tag: string;
  readonly path: string;
  /**
   * Read-only on the host's side too: a root user in the guest could remount its own. The guest may then cache
   * everything for ever, so that it may not see what changes in here while it runs.
   */
  readonly readOnly: boolean;
  /** The vhost-user socket that QEMU connects to; made here. */
  readonly socket: string;
  /** An empty folder of the host to assemble the read-only view in; used in a private mount namespace. */
  readonly view: string;
}

/** Starts the server of one shared folder and waits until QEMU can connect. Throws `vm.virtiofsd-failed`. */
export async function startVirtiofsd(share: SharedFolder): Promise<HostProcess> {
  const mayMount = (await runCommand('unshare', ['--mount', 'true'])).exitCode === 0;
  const mounts =
    share.readOnly && mayMount ? submounts(await readFile('/proc/self/mountinfo', 'utf8'), share.path) : [];
  const script = serverScript(share, mayMount, mounts);
  const argv = mayMount
    ? ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script]
    : ['sh', '-c', script];
  const server = new HostProcess(argv);
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!(await isSocket(share.socket))) {
    if (server.alive && Date.now() < deadline) {
      await delay(5);
      continue;
    }
    await server[Symbol.asyncDispose]();
    throw new GatewayError(
      'vm.virtiofsd-failed',
      `virtiofsd does not serve ${share.path}: it ${await server.ended}.`,
      {
        why: server.output,
        fix: 'The test VM needs root with CAP_SYS_CHROOT at least; in Docker, run with `--privileged`.',
      },
    );
  }
  return server;
}

/** The shell commands that assemble the read-only view where possible, and become the server. */
export function serverScript(share: SharedFolder, mayMount: boolean, mounts: readonly string[]): string {
  const lines: string[] = [];
  let source = share.path;
  if (share.readOnly && mayMount) {
    source = share.view;
    lines.push('set -e', bindReadOnly(share.path, source));
    // Something may be mounted over a folder that the server cannot even see; what matters is the first mount.
    for (const mount of mounts) {
      const target = source + mount.slice(share.path === '/' ? 0 : share.path.length);
      lines.push(`{ ${bindReadOnly(mount, target)}; } 2>/dev/null || true`);
    }
  }
  // The server holds a descriptor for every file that the guest has in its cache.
  lines.push('ulimit -n "$(ulimit -H -n)"');
  const options = [`source=${source}`, `cache=${share.readOnly ? 'always' : 'auto'}`];
  options.push(`sandbox=${mayMount ? 'namespace' : 'chroot'}`, 'log_level=err');
  const command = [VIRTIOFSD, `--socket-path=${share.socket}`, '--rlimit-nofile=0', '--thread-pool-size=0'];
  lines.push(
    `exec ${[...command, ...options.flatMap((option) => ['-o', option])].map(shellQuote).join(' ')}`,
  );
  return lines.join('\n');
}

function bindReadOnly(from: string, to: string): string {
  const [source, target] = [shellQuote(from), shellQuote(to)];
  return `mount --bind ${source} ${target} && mount -o remount,bind,ro ${target}`;
}

/** The kernel's own file systems: the guest mounts its own instead. */
const KERNEL_FOLDERS = /^\/(proc|sys|dev|run)(\/|$)/;

/**
 * Mount points below `root` that hold files, outermost first, from the text of /proc/self/mountinfo
 * (proc(5): the fifth field, with space, tab, newline and backslash as octal escapes).
 */
export function submounts(mountinfo: string, root: string): string[] {
  const below = root === '/' ? '/' : `${root}/`;
  const points = mountinfo
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .map((point) =>
      point.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8))),
    )
    .filter((point) => point !== root && point.startsWith(below) && !KERNEL_FOLDERS.test(point));
  return [...new Set(points)].sort((a, b) => a.length - b.length);
}

async function isSocket(path: string): Promise<boolean> {
  return await stat(path).then(
    (entry) => entry.isSocket(),
    () => false,
  );
}
