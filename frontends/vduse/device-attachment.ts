import { GatewayError } from '../../core/api/errors.ts';
import type { Holder } from '../../core/api/frontend.ts';
import type { DeviceAdmin } from './device-admin.ts';
import { type DeviceNode, waitForNode } from './device-node.ts';
import { type HostPaths, isAttached } from './host-paths.ts';
import { type Attachment, OUTLETS } from './outlet.ts';
import type { Session } from './session.ts';
import { openInVm } from './vm-errors.ts';

/** The partition scan reads through the store, which may be slow to answer. */
const ATTACH_TIMEOUT_MS = 120_000;
/** Detaching writes back what the page cache holds, and waits for every request in flight. */
const DETACH_TIMEOUT_MS = 120_000;

/** In another PID namespace, or where /proc hides the processes of others: that it drives the disk is known. */
const HIDDEN_HYPERVISOR: Holder = { kind: 'process', description: 'a process that cannot be seen from here' };

export interface DeviceAttachmentParts {
  readonly admin: DeviceAdmin;
  readonly session: Session;
  /** Serves no more, and leaves nothing in this process that the next one needs. */
  readonly settle: () => Promise<void>;
  readonly paths: HostPaths;
  /** Name of the device. */
  readonly name: string;
  readonly attach: Attachment;
}

/** A served device on the vDPA bus: how it gets there, what it is there, and how it leaves. */
export class DeviceAttachment {
  readonly #parts: DeviceAttachmentParts;

  constructor(parts: DeviceAttachmentParts) {
    this.#parts = parts;
  }

  /** Goes on with an attached device of an earlier process. False: as it is, it is of no use to anybody. */
  async adopt(): Promise<boolean> {
    const { session, attach } = this.#parts;
    if (await session.adopt()) return true;
    // A hypervisor's device needs no driver that runs: whoever opens it comes and goes.
    return attach === 'vm' && this.#find() !== undefined;
  }

  /**
   * Settles when the driver has the disk, or says that it will not. Throws `vduse.attach-timeout`,
   * `vduse.attach-failed` or `vduse.driver-refused`.
   */
  attach(signal: AbortSignal): Promise<void> {
    const { admin, session, name, attach } = this.#parts;
    const running = session.running;
    const lost = session.broken.then((error) => {
      throw error ?? new Error('the session ended');
    });
    // The bus reports success as well when the driver has refused the device.
    const refused = running.then(() => new Promise<never>(() => {}));
    return within(ATTACH_TIMEOUT_MS, signal, 'attach', name, async (ended) => {
      await Promise.race([admin.attach(attach, ended), lost, refused]);
    });
  }

  /** Throws `vduse.no-disk`. */
  node(signal: AbortSignal): Promise<DeviceNode> {
    return waitForNode(() => this.#find(), this.#parts.name, signal);
  }

  async holders(): Promise<readonly Holder[]> {
    const { admin, session, attach } = this.#parts;
    const found = await admin.holders();
    const isHidden = attach === 'vm' && found.length === 0 && session.driving;
    return isHidden ? [HIDDEN_HYPERVISOR] : found;
  }

  /** Throws `vduse.open-in-vm`, `vduse.detach-timeout` or `vduse.detach-failed`. */
  async detach(): Promise<void> {
    const { admin, session, paths, name, attach } = this.#parts;
    if (!isAttached(paths, name)) return;
    if (attach === 'vm') await this.#refuseWhileOpen();
    // Whatever the page cache still holds is written now, so requests have to be served once more.
    session.resume();
    await detachDevice(admin, name);
  }

  /** The device stays, with every request that was taken answered, for the next start to serve. */
  async #refuseWhileOpen(): Promise<void> {
    const { settle, name } = this.#parts;
    const [holder] = await this.holders();
    if (holder === undefined) return;
    await settle();
    throw openInVm(name, holder);
  }

  #find(): DeviceNode | undefined {
    const { paths, name, attach } = this.#parts;
    return OUTLETS[attach].find(paths, name);
  }
}

/** Whoever serves the device has to go on doing so meanwhile. Throws `vduse.detach-timeout` or `vduse.detach-failed`. */
export function detachDevice(admin: DeviceAdmin, name: string): Promise<void> {
  return within(DETACH_TIMEOUT_MS, undefined, 'detach', name, (signal) => admin.detach(signal));
}

/** Runs a call to the bus for at most `ms`. Throws `vduse.attach-timeout` or `vduse.detach-timeout`. */
async function within(
  ms: number,
  signal: AbortSignal | undefined,
  what: 'attach' | 'detach',
  name: string,
  call: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const timeout = AbortSignal.timeout(ms);
  try {
    await call(signal === undefined ? timeout : AbortSignal.any([signal, timeout]));
  } catch (cause) {
    if (!timeout.aborted || GatewayError.is(cause)) throw cause;
    const { code, why } = TIMEOUTS[what];
    throw new GatewayError(code, `The VDUSE device "${name}" did not ${what} within ${ms / 1000} s.`, {
      why,
      fix: 'Find out why the store does not answer; the log has what it said last.',
      cause,
    });
  }
}

const TIMEOUTS = {
  attach: {
    code: 'vduse.attach-timeout',
    why: 'The driver reads the disk’s first blocks before it is done, and has not got them.',
  },
  detach: {
    code: 'vduse.detach-timeout',
    why: 'The kernel waits for requests that the store has not answered.',
  },
} as const;
