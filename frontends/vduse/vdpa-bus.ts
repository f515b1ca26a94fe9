import { GatewayError } from '../../core/api/errors.ts';
import { Errno, errnoMessage, errnoName } from '../../core/system/errno.ts';
import { type VdpaCall, type VdpaOutcome, VdpaProcess } from './vdpa-process.ts';

/**
 * The vDPA bus, where a VDUSE device meets its driver. Both calls wait until the driver is done: the device's
 * messages and requests have to be served meanwhile. Both reject with `signal`'s reason when it aborts.
 */
export interface VdpaBus {
  /**
   * Attaches, with this driver. That it succeeds does not mean that the driver found a disk. Throws
   * `vduse.attach-failed`.
   */
  add(name: string, driver: string, signal: AbortSignal): Promise<void>;
  /** Detaches; a device that is not attached is fine. Throws `vduse.detach-failed`. */
  remove(name: string, signal: AbortSignal): Promise<void>;
}

/** How long a process waits for another call before it ends: starting one is most of a call's cost. */
const LINGER_MS = 30_000;

/** The bus of the running kernel, through processes that can wait for it. */
class KernelVdpaBus implements VdpaBus {
  #idle: VdpaProcess | undefined;
  #linger: NodeJS.Timeout | undefined;

  async add(name: string, driver: string, signal: AbortSignal): Promise<void> {
    const outcome = await this.#call({ command: 'add', name, driver }, signal);
    if (outcome.errno !== 0)
      throw failed('vduse.attach-failed', `The VDUSE device "${name}" cannot be attached.`, outcome);
  }

  async remove(name: string, signal: AbortSignal): Promise<void> {
    const outcome = await this.#call({ command: 'remove', name }, signal);
    if (outcome.errno !== 0 && outcome.errno !== Errno.ENODEV)
      throw failed('vduse.detach-failed', `The VDUSE device "${name}" cannot be detached.`, outcome);
  }

  async #call(call: VdpaCall, signal: AbortSignal): Promise<VdpaOutcome> {
    const process = this.#idle?.alive ? this.#idle : new VdpaProcess();
    this.#idle = undefined;
    clearTimeout(this.#linger);
    try {
      return await process.call(call, signal);
    } finally {
      this.#release(process);
    }
  }

  /** Keeps one process for the next call, and not for long. */
  #release(process: VdpaProcess): void {
    this.#idle?.[Symbol.dispose]();
    clearTimeout(this.#linger);
    this.#idle = process;
    this.#linger = setTimeout(() => {
      this.#idle = undefined;
      process[Symbol.dispose]();
    }, LINGER_MS);
    this.#linger.unref();
  }
}

export const kernelVdpaBus: VdpaBus = new KernelVdpaBus();

function failed(code: string, summary: string, { errno, step, message }: VdpaOutcome): GatewayError {
  return new GatewayError(code, summary, {
    why: `The kernel says ${errnoName(errno)} (${message ?? errnoMessage(errno)}) when asked to ${step}.`,
    fix: fixFor(errno),
  });
}

function fixFor(errno: number): string {
  if (errno === Errno.EPERM)
    return 'Run the gateway as root, or with the capability CAP_NET_ADMIN, outside of any user namespace.';
  if (errno === Errno.ENOENT)
    return 'Load the module with "modprobe vdpa", and run the gateway in the host’s network namespace.';
  return 'Look at the kernel’s log (dmesg).';
}
