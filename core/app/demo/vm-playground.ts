import { VmSession } from '../../vm/vm.ts';
import type { Playground, PlaygroundRun } from './playground.ts';

/** The guest sees the loopback of its host here: QEMU's user network. */
const HOST_ADDRESS = '10.0.2.2';
/** The folder of results, which host and guest both write. */
const GUEST_FOLDER = '/run/vm/results';
const RUN_TIMEOUT_MS = 15 * 60_000;

export interface VmPlaygroundOptions {
  /** The demo's folder. */
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly onProgress: (line: string) => void;
}

/** The demo's disk in a virtual machine whose kernel has VDUSE. */
export class VmPlayground implements Playground {
  readonly hostAddress = HOST_ADDRESS;
  readonly folder = GUEST_FOLDER;
  readonly description: string;
  readonly #options: VmPlaygroundOptions;
  readonly #session: VmSession;

  static async boot(options: VmPlaygroundOptions): Promise<VmPlayground> {
    const session = await VmSession.start({ ...options, results: options.folder });
    const { stdout } = await session.run('uname -r');
    return new VmPlayground(session, `a virtual machine with Linux ${stdout.trim()}`, options);
  }

  private constructor(session: VmSession, description: string, options: VmPlaygroundOptions) {
    this.#session = session;
    this.description = description;
    this.#options = options;
  }

  async run(command: readonly string[], { env, onLine }: PlaygroundRun): Promise<number> {
    const options = { env, onOutput: onLine, timeoutMs: RUN_TIMEOUT_MS };
    return (await this.#session.run(command, options)).exitCode;
  }

  async runInTerminal(command: readonly string[], env: Readonly<Record<string, string>>): Promise<number> {
    // The console of a running machine cannot be moved to the terminal, so the shell gets one of its own.
    await this.#session.stop();
    const { folder, signal, onProgress } = this.#options;
    await using session = await VmSession.start({ results: folder, signal, onProgress, terminal: true });
    return (await session.run(command, { env, terminal: true, timeoutMs: 2 ** 31 - 1 })).exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session.stop();
  }
}
