import { randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { GatewayError } from '../api/errors.ts';
import { EXPIRED, withDeadline } from './deadline.ts';
import { ensureVm } from './ensure-vm.ts';
import { type GuestScript, startScript } from './guest-script.ts';
import { Machine } from './machine.ts';
import { OutputFollower } from './output-follower.ts';

export interface VmSessionOptions {
  /** Default 2. */
  readonly cpus?: number;
  /** Default 2048. Files written in the guest, outside of disks and results, take up to three quarters of it. */
  readonly memoryMiB?: number;
  /** Host folder, made if missing, that scripts see as $VM_RESULTS. Default: one that goes with the session. */
  readonly results?: string;
  /** Empty scratch disks: /dev/vda, /dev/vdb… in the guest. */
  readonly disks?: readonly { readonly sizeMiB: number }[];
  /** Default 120 000: emulation on a busy machine is slow. */
  readonly bootTimeoutMs?: number;
  /** Ends the VM when aborted; what is running then rejects with its reason. */
  readonly signal?: AbortSignal;
  /** Gets a line for each thing that is installed, downloaded or built before the VM can start. */
  readonly onProgress?: (line: string) => void;
  /** Connects /dev/hvc0 of the guest to the terminal of this process. */
  readonly terminal?: boolean;
}

export interface RunOptions {
  /** Default: the working directory of this process, which the guest sees at the same path. */
  readonly cwd?: string;
  /** Added to the guest's own few variables; those of the host are not passed on. */
  readonly env?: Readonly<Record<string, string>>;
  /** Then the script's process group gets SIGTERM, two seconds later SIGKILL. Default 600 000. */
  readonly timeoutMs?: number;
  /** Gets each line, without its end, as it is printed. */
  readonly onOutput?: (line: string, stream: 'stdout' | 'stderr') => void;
  /** The script's stdin, stdout and stderr are the terminal; the session was started with one. */
  readonly terminal?: boolean;
}

export interface RunResult {
  /** As a shell reports it: 128 + n after signal n. */
  readonly exitCode: number;
  /** True if the script was stopped because its time was up. */
  readonly timedOut: boolean;
  readonly stdout: string;
  readonly stderr: string;
  readonly durationMs: number;
}

const DEFAULT_RUN_TIMEOUT_MS = 600_000;
/** The agent takes 2 s from SIGTERM to SIGKILL; a guest without an answer long after that is stuck. */
const KILL_TIMEOUT_MS = 20_000;
/** The last output is on its way when a script's end is reported. */
const OUTPUT_TIMEOUT_MS = 10_000;
const POLL_MS = 30;
/** Where the guest has the session folder's `host/runs`. */
const GUEST_RUNS = '/run/vm/host/runs';

/** A booted VM that runs any number of scripts, one after the other or at once. Hold it with `await using`. */
export class VmSession implements AsyncDisposable {
  readonly #machine: Machine;
  readonly #signal: AbortSignal | undefined;
  #lastId = 0;

  readonly #onAbort = (): void => void this.stop();

  private constructor(machine: Machine, signal: AbortSignal | undefined) {
    this.#machine = machine;
    this.#signal = signal;
    signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Boots a VM; installs and builds first what that needs. Throws what `ensureVm` throws and `vm.boot-failed`. */
  static async start(options: VmSessionOptions = {}): Promise<VmSession> {
    const images = await ensureVm({ ...(options.onProgress && { onProgress: options.onProgress }) });
    const hardware = {
      cpus: options.cpus ?? 2,
      memoryMiB: options.memoryMiB ?? 2048,
      results: options.results,
      disks: options.disks ?? [],
      bootTimeoutMs: options.bootTimeoutMs ?? 120_000,
      terminal: options.terminal ?? false,
    };
    const boot = () => Machine.boot(images, hardware, options.signal);
    // Seen once in hundreds of boots on a busy host: the emulated clock jumps, and the kernel panics over it.
    const machine = await boot().catch((error: unknown) => {
      if (!GatewayError.is(error) || error.code !== 'vm.boot-failed') throw error;
      options.onProgress?.(`${error.message} Trying once more.`);
      return boot();
    });
    return new VmSession(machine, options.signal);
  }

  /** From the start of QEMU until the first script could have run. */
  get bootMs(): number {
    return this.#machine.bootMs;
  }

  /** Host folder that scripts see as $VM_RESULTS. */
  get results(): string {
    return this.#machine.results;
  }

  /** All that the guest's kernel printed so far. */
  async console(): Promise<string> {
    return await this.#machine.console();
  }

  /**
   * Runs bash source, or a command with its arguments, until it exits. Processes it leaves in the background go on,
   * for the next script to use; what they print after its end is not reported.
   * Throws `vm.died` when the guest panics or QEMU ends, `vm.stuck` when a script cannot be stopped.
   */
  async run(script: GuestScript, options: RunOptions = {}): Promise<RunResult> {
    const id = ++this.#lastId;
    const token = randomUUID();
    const folder = this.#machine.folder.file('host', 'runs', `${id}`);
    await mkdir(folder);
    // Not on a command line: those end at 128 KiB per word.
    const command = typeof script === 'string' ? ['/bin/bash', `${GUEST_RUNS}/${id}/script`] : script;
    await Promise.all([
      writeFile(`${folder}/script`, typeof script === 'string' ? script : ''),
      writeFile(`${folder}/start`, startScript(command, options)),
      writeFile(`${folder}/stdout`, ''),
      writeFile(`${folder}/stderr`, ''),
    ]);
    await using stdout = await OutputFollower.open(`${folder}/stdout`, token, (line) => {
      options.onOutput?.(line, 'stdout');
    });
    await using stderr = await OutputFollower.open(`${folder}/stderr`, token, (line) => {
      options.onOutput?.(line, 'stderr');
    });
    const started = performance.now();
    const exit = this.#machine.exitOf(id);
    this.#machine.send(`run ${id} ${token}`);
    const followed = new AbortController();
    const following = follow([stdout, stderr], followed.signal);
    // Awaited below, on every path; until then a failure to read must not count as unhandled.
    following.catch(() => {});
    try {
      const timeoutMs = options.timeoutMs ?? DEFAULT_RUN_TIMEOUT_MS;
      const status = await this.#unlessDead(withDeadline(exit, timeoutMs, this.#signal));
      const timedOut = status === EXPIRED;
      const exitCode = timedOut ? await this.#kill(id, exit) : status;
      const durationMs = Math.round(performance.now() - started);
      await this.#unlessDead(withDeadline(following, OUTPUT_TIMEOUT_MS, this.#signal));
      return { exitCode, timedOut, stdout: stdout.text, stderr: stderr.text, durationMs };
    } finally {
      followed.abort();
      await following;
    }
  }

  /** Ends the VM with all that runs in it and removes everything of it on the host. Safe to call twice. */
  async stop(): Promise<void> {
    this.#signal?.removeEventListener('abort', this.#onAbort);
    await this.#machine.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #kill(id: number, exit: Promise<number>): Promise<number> {
    this.#machine.send(`kill ${id}`);
    const status = await this.#unlessDead(withDeadline(exit, KILL_TIMEOUT_MS, this.#signal));
    if (status !== EXPIRED) return status;
    throw new GatewayError('vm.stuck', 'A script in the test VM could not be stopped.', {
      why: await this.#machine.lastWords(),
      fix: 'Stop the session; a process in uninterruptible sleep goes only with its VM.',
    });
  }

  async #unlessDead<T>(work: Promise<T>): Promise<T> {
    return await Promise.race([work, this.#machine.failure]);
  }
}

/** Reads along until all of it was read, or until `signal` is aborted; then hands out what is there. */
async function follow(outputs: readonly OutputFollower[], signal: AbortSignal): Promise<void> {
  while (!signal.aborted && outputs.some((output) => !output.complete)) {
    for (const output of outputs) await output.read();
    if (outputs.every((output) => output.complete)) break;
    await delay(POLL_MS, undefined, { signal }).catch(() => {});
  }
  for (const output of outputs) output.finish();
}
