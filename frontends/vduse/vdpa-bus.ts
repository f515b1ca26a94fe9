import { spawn } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GatewayError } from '../../core/api/errors.ts';
import { Errno, errnoMessage, errnoName } from '../../core/system/errno.ts';

/** What the helper process prints. */
export interface VdpaOutcome {
  /** 0: done. */
  readonly errno: number;
  /** What it was doing when it failed. */
  readonly step: string;
  /** What the kernel adds in words. */
  readonly message?: string;
}

/**
 * The vDPA bus, where a VDUSE device meets its driver. Both calls wait until the driver is done: the device's
 * messages and requests have to be served meanwhile. Both reject with `signal`'s reason when it aborts.
 */
export interface VdpaBus {
  /** Attaches. That this succeeds does not mean that the driver found a disk. Throws `vduse.attach-failed`. */
  add(name: string, signal: AbortSignal): Promise<void>;
  /** Detaches; a device that is not attached is fine. Throws `vduse.detach-failed`. */
  remove(name: string, signal: AbortSignal): Promise<void>;
}

/** The bus of the running kernel, through a process per call: see `vdpa-main.ts`. */
export const kernelVdpaBus: VdpaBus = {
  async add(name, signal) {
    const outcome = await run('add', name, signal);
    if (outcome.errno !== 0) throw attachFailed(name, outcome);
  },
  async remove(name, signal) {
    const outcome = await run('remove', name, signal);
    if (outcome.errno !== 0 && outcome.errno !== Errno.ENODEV) throw detachFailed(name, outcome);
  },
};

const main = fileURLToPath(new URL(`./vdpa-main${extname(import.meta.url)}`, import.meta.url));

function run(command: 'add' | 'remove', name: string, signal: AbortSignal): Promise<VdpaOutcome> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const child = spawn(process.execPath, [main, command, name], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors = `${errors}${text}`.slice(-4096);
    });
    const abort = () => {
      // It may be stuck in the kernel and stay so for a while; that must not keep this process alive.
      child.kill('SIGKILL');
      child.unref();
      child.stdout.destroy();
      child.stderr.destroy();
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', abort, { once: true });
    child.once('error', reject);
    child.once('close', (code, killedBy) => {
      signal.removeEventListener('abort', abort);
      const outcome = parse(output);
      if (outcome !== undefined) resolve(outcome);
      else
        reject(
          new Error(`the process that talks to the vDPA bus ended (${killedBy ?? code}): ${errors.trim()}`),
        );
    });
  });
}

function parse(output: string): VdpaOutcome | undefined {
  return output.endsWith('\n') ? (JSON.parse(output) as VdpaOutcome) : undefined;
}

function describe({ errno, step, message }: VdpaOutcome): string {
  const words = message === undefined ? errnoMessage(errno) : message;
  return `The kernel says ${errnoName(errno)} (${words}) to "${step}".`;
}

function attachFailed(name: string, outcome: VdpaOutcome): GatewayError {
  return new GatewayError('vduse.attach-failed', `The VDUSE device "${name}" cannot be attached.`, {
    why: describe(outcome),
    fix: fixFor(outcome.errno),
  });
}

function detachFailed(name: string, outcome: VdpaOutcome): GatewayError {
  return new GatewayError('vduse.detach-failed', `The VDUSE device "${name}" cannot be detached.`, {
    why: describe(outcome),
    fix: fixFor(outcome.errno),
  });
}

function fixFor(errno: number): string {
  if (errno === Errno.EPERM)
    return 'Run the gateway as root, or with the capability CAP_NET_ADMIN, outside of any user namespace.';
  if (errno === Errno.ENOENT)
    return 'Load the module with "modprobe vdpa", and run the gateway in the host’s network namespace.';
  return 'Look at the kernel’s log (dmesg).';
}
