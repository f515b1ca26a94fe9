import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { vmCacheFolder } from '../../core/vm/cache-folder.ts';
import { ensureDebianPackages } from '../../core/vm/debian-packages.ts';
import { GUEST_NODE_OPTIONS } from '../../core/vm/guest-script.ts';
import { VmSession, type VmSessionOptions } from '../../core/vm/session.ts';

const ROOT = join(import.meta.dirname, '..', '..');
/** What the scripts of the kernel tests use; the guest has the host's programs. */
const TOOLS = [
  'fio',
  'e2fsprogs',
  'xfsprogs',
  'btrfs-progs',
  'util-linux',
  'kmod',
  'procps',
  'udev',
  'dmsetup',
];

/**
 * Seen a few times before `core/vm/no-wasm-tier-up.cjs`, on machines that had never run the project in the VM, and never
 * with a warm compile cache or outside of the VM: V8's compilers crash under emulation. Twice in a row is no accident.
 */
const CRASHED_COLD = /was killed by SIG(SEGV|ILL|TRAP|ABRT) before the disk was ready/;

export interface ShellOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

/** A booted test VM with a way to run scripts that fail loudly, and gateways in it. */
export class Guest implements AsyncDisposable {
  readonly session: VmSession;
  #gateways = 0;

  private constructor(session: VmSession) {
    this.session = session;
  }

  static async start(options: VmSessionOptions = {}): Promise<Guest> {
    const say = (line: string) => process.stderr.write(`vm: ${line}\n`);
    await ensureDebianPackages(TOOLS, say);
    const results = join(vmCacheFolder(), 'kernel-tests');
    await mkdir(results, { recursive: true });
    const guest = new Guest(await VmSession.start({ memoryMiB: 3072, onProgress: say, results, ...options }));
    // Without udev nobody would tell lsblk of serial numbers.
    await guest.sh('/lib/systemd/systemd-udevd --daemon; udevadm settle');
    return guest;
  }

  /** Runs bash; throws with everything it printed when a command fails. Returns what it wrote to stdout. */
  async sh(script: string, options: ShellOptions = {}): Promise<string> {
    const result = await this.try(script, options);
    if (result.exitCode !== 0) {
      const why = result.timedOut ? 'ran out of time' : `ended with ${result.exitCode}`;
      throw new Error(`script ${why}\n${script}\n--- stdout\n${result.stdout}\n--- stderr\n${result.stderr}`);
    }
    return result.stdout;
  }

  /** Runs bash, whatever its exit status. */
  try(script: string, options: ShellOptions = {}): ReturnType<VmSession['run']> {
    const env = {
      PATH: `${ROOT}/node_modules/.bin:/usr/sbin:/usr/bin:/sbin:/bin`,
      HOME: '/root',
      NODE_OPTIONS: GUEST_NODE_OPTIONS,
      // Kept on the host: under emulation, compiling takes longer than everything else that a gateway does to start.
      NODE_COMPILE_CACHE: '/run/vm/results/node-compile-cache',
      ...options.env,
    };
    return this.session.run(`set -euo pipefail\n${script}`, {
      env,
      cwd: '/',
      timeoutMs: options.timeoutMs ?? 300_000,
    });
  }

  /** The command line of blockgate, run from source. */
  static readonly blockgate = `node ${ROOT}/core/app/cli/main.ts`;

  /**
   * Starts a gateway in a folder of its own and waits until every disk is there. `config` is the content of its
   * plugins.json.
   */
  async startGateway(
    config: { readonly disks: object },
    options: GatewayOptions = {},
  ): Promise<GuestGateway> {
    const folder = options.folder ?? `/run/gateway-${++this.#gateways}`;
    const paths = options.paths ?? Object.keys(config.disks).map((disk) => `/dev/blockgate/${disk}`);
    const script =
      // What an earlier gateway said there would pass for this one's.
      `mkdir -p ${folder} && cd ${folder} && rm -f out
       cat > plugins.json <<'CONFIG'\n${JSON.stringify({ version: 1, ...config }, undefined, 2)}\nCONFIG
       ${options.memoryLock === undefined ? '' : `ulimit -l ${options.memoryLock}`}
       setsid ${Guest.blockgate} run ${options.arguments ?? ''} > out 2> err < /dev/null &
       echo $! > pid
       # Under emulation every process costs: nothing but sleep is one here.
       for attempt in {1..600}; do
         ready=yes; for path in ${paths.join(' ')}; do [ -e "$path" ] || ready=no; done
         [ $ready = yes ] && [ -s out ] && exit 0
         kill -0 $! 2>/dev/null || break
         sleep 0.4
       done
       echo "the gateway did not start" >&2; cat out err >&2; exit 1`;
    const start = () => this.sh(script, options.env ? { env: options.env } : {});
    try {
      await start();
    } catch (error) {
      if (!CRASHED_COLD.test(String(error))) throw error;
      process.stderr.write('vm: a process crashed in its first second; once more\n');
      await start();
    }
    return new GuestGateway(this, folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session[Symbol.asyncDispose]();
  }
}

export interface GatewayOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** More arguments for `blockgate run`. */
  readonly arguments?: string;
  /** Paths that are there when every disk is; default those of the frontend vduse. */
  readonly paths?: readonly string[];
  /** Where it runs and keeps its plugins.json; default a new folder. */
  readonly folder?: string;
  /** Its RLIMIT_MEMLOCK, in KiB; default that of the guest. */
  readonly memoryLock?: number;
}

/** A `blockgate run` in the guest. */
export class GuestGateway {
  readonly folder: string;
  readonly #guest: Guest;
  #stopped = false;

  constructor(guest: Guest, folder: string) {
    this.#guest = guest;
    this.folder = folder;
  }

  /** Stops it as an operator would, and waits; throws unless it ends with status 0 and takes its devices along. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await this.#guest.sh(
      `cd ${this.folder}; read -r pid < pid; kill -TERM $pid
       for attempt in {1..600}; do kill -0 $pid 2>/dev/null || break; sleep 0.3; done
       if kill -0 $pid 2>/dev/null; then echo 'the gateway does not stop' >&2; cat out err >&2; exit 1; fi
       if ls /dev/blockgate/* /dev/vduse/blockgate* > /dev/null 2>&1; then
         echo 'devices are left' >&2; ls -l /dev/blockgate /dev/vduse >&2; cat out err >&2; exit 1
       fi`,
    );
  }

  async log(): Promise<string> {
    return await this.#guest.sh(`cat ${this.folder}/out ${this.folder}/err`);
  }
}
