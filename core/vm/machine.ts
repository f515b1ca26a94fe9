import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { GatewayError } from '../api/errors.ts';
import { lastWords } from './console-tail.ts';
import { type AgentMessage, ControlChannel } from './control-channel.ts';
import { EXPIRED, withDeadline } from './deadline.ts';
import type { VmImages } from './ensure-vm.ts';
import { HostProcess } from './host-process.ts';
import { qemuCommand } from './qemu.ts';
import { SessionFolder } from './session-folder.ts';
import { startVirtiofsd } from './virtiofsd.ts';

export interface MachineOptions {
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly results: string | undefined;
  readonly disks: readonly { readonly sizeMiB: number }[];
  readonly bootTimeoutMs: number;
  readonly terminal: boolean;
}

/** One running QEMU with the servers of its shared folders, and the line to the agent in the guest. */
export class Machine implements AsyncDisposable {
  readonly folder: SessionFolder;
  /** Host folder that the guest sees as /run/vm/results. */
  readonly results: string;
  /** From the start of QEMU until the agent could have run a script. */
  readonly bootMs: number;
  /** Rejects with `vm.died` or `vm.stopped` when QEMU has ended: to race against whatever waits for the guest. */
  readonly failure: Promise<never>;
  readonly #qemu: HostProcess;
  readonly #control: ControlChannel;
  readonly #exits: Map<number, (status: number) => void>;
  readonly #owned: AsyncDisposableStack;
  #stopping: Promise<void> | undefined;

  private constructor(parts: {
    folder: SessionFolder;
    results: string;
    bootMs: number;
    qemu: HostProcess;
    control: ControlChannel;
    exits: Map<number, (status: number) => void>;
    owned: AsyncDisposableStack;
  }) {
    this.folder = parts.folder;
    this.results = parts.results;
    this.bootMs = parts.bootMs;
    this.#qemu = parts.qemu;
    this.#control = parts.control;
    this.#exits = parts.exits;
    this.#owned = parts.owned;
    this.failure = this.#untilDead();
    // Nobody may be waiting when it happens.
    this.failure.catch(() => {});
  }

  /** Boots. Throws `vm.virtiofsd-failed`, `vm.boot-failed`, or the signal's reason. */
  static async boot(images: VmImages, options: MachineOptions, signal?: AbortSignal): Promise<Machine> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await SessionFolder.create());
    const results = resolve(options.results ?? folder.file('results'));
    await mkdir(results, { recursive: true });
    const shares = await startShares(stack, folder, results);
    const disks = await makeDisks(folder, options.disks);

    const exits = new Map<number, (status: number) => void>();
    const ready = Promise.withResolvers<void>();
    const onMessage = (message: AgentMessage): void => {
      if (message.kind === 'ready') ready.resolve();
      else exits.get(message.id)?.(message.status);
    };
    const controlSocket = folder.file('control');
    const control = stack.use(await ControlChannel.listen(controlSocket, onMessage));
    signal?.throwIfAborted();

    const consoleLog = folder.file('console.log');
    await writeFile(consoleLog, '');
    const started = performance.now();
    const { cpus, memoryMiB, terminal } = options;
    const command = qemuCommand({
      ...images,
      cpus,
      memoryMiB,
      shares,
      controlSocket,
      consoleLog,
      disks,
      terminal,
    });
    const qemu = stack.use(new HostProcess(command, { terminal }));
    await untilReady(ready.promise, { qemu, consoleLog, timeoutMs: options.bootTimeoutMs, signal });
    const bootMs = Math.round(performance.now() - started);
    return new Machine({ folder, results, bootMs, qemu, control, exits, owned: stack.move() });
  }

  async #untilDead(): Promise<never> {
    const reason = await this.#qemu.ended;
    const why = await this.lastWords();
    if (this.#stopping !== undefined)
      throw new GatewayError('vm.stopped', 'The test VM was stopped while it was in use.');
    throw new GatewayError('vm.died', `The test VM ended by itself: QEMU ${reason}.`, { why });
  }

  /** Sends a command to the guest's agent. */
  send(line: string): void {
    this.#control.send(line);
  }

  /** Resolves with the exit status once the agent reports the end of run `id`. Call before `send`. */
  exitOf(id: number): Promise<number> {
    return new Promise((resolve) => {
      this.#exits.set(id, (status) => {
        this.#exits.delete(id);
        resolve(status);
      });
    });
  }

  /** All that the guest's kernel printed. */
  async console(): Promise<string> {
    const text = await readFile(this.folder.file('console.log'), 'utf8').catch(() => '');
    return text.replaceAll('\r', '');
  }

  /** The last that QEMU and the guest's kernel said. */
  async lastWords(): Promise<string> {
    return lastWords(`${this.#qemu.output}\n${await this.console()}`);
  }

  /** Ends the VM and removes everything of it on the host. Safe to call twice. */
  stop(): Promise<void> {
    this.#stopping ??= this.#owned.disposeAsync();
    return this.#stopping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Tag, folder of the host, socket: what guest-init.sh mounts. */
async function startShares(
  stack: AsyncDisposableStack,
  folder: SessionFolder,
  results: string,
): Promise<{ tag: string; socket: string }[]> {
  const view = folder.file('view');
  await mkdir(view);
  const shares = [
    { tag: 'root', path: '/', readOnly: true },
    { tag: 'host', path: folder.file('host'), readOnly: false },
    { tag: 'results', path: results, readOnly: false },
  ].map((share) => ({ ...share, socket: folder.file(`${share.tag}.sock`), view }));
  await Promise.all(shares.map(async (share) => stack.use(await startVirtiofsd(share))));
  return shares;
}

async function makeDisks(
  folder: SessionFolder,
  disks: readonly { readonly sizeMiB: number }[],
): Promise<string[]> {
  return await Promise.all(
    disks.map(async ({ sizeMiB }, index) => {
      const path = folder.file(`scratch${index}.img`);
      await writeFile(path, '');
      await truncate(path, sizeMiB * 2 ** 20);
      return path;
    }),
  );
}

interface Booting {
  readonly qemu: HostProcess;
  readonly consoleLog: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
}

async function untilReady(ready: Promise<void>, booting: Booting): Promise<void> {
  const { qemu, consoleLog, timeoutMs, signal } = booting;
  const ended = qemu.ended.then((reason) => `QEMU ${reason}`);
  const outcome = await withDeadline(Promise.race([ready, ended]), timeoutMs, signal);
  if (outcome === undefined) return;
  throw new GatewayError(
    'vm.boot-failed',
    outcome === EXPIRED
      ? `The test VM did not boot within ${timeoutMs / 1000} s.`
      : `The test VM did not boot: ${outcome}.`,
    { why: lastWords(`${qemu.output}\n${await readFile(consoleLog, 'utf8')}`) },
  );
}
