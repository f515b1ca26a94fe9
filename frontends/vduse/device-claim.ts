import { GatewayError } from '../../core/api/errors.ts';
import type { Logger } from '../../core/api/logger.ts';
import type { Syscalls } from '../../core/system/syscalls.ts';
import { VduseDevice } from './device.ts';
import type { DeviceAdmin } from './device-admin.ts';
import { detachDevice } from './device-attachment.ts';
import { devicePath, type HostPaths, isAttached } from './host-paths.ts';
import { type DeviceState, type StateFile, stateDifference } from './state-file.ts';
import { brokenInVm } from './vm-errors.ts';

/** What to do with a device that was there already. `'adopted'`: it is attached, and its driver may be waiting. */
export type Claim = 'created' | 'adopted';

export interface ClaimContext {
  readonly admin: DeviceAdmin;
  readonly stateFile: StateFile;
  readonly syscalls: Syscalls;
  readonly paths: HostPaths;
  readonly logger: Logger;
}

/**
 * Makes the device, or decides that the one of that name can be served again. One that is of no use to anybody is made
 * anew: it is not attached, or the kernel has given it up. Throws `vduse.device-busy`, `vduse.device-exists`,
 * `vduse.device-differs` or `vduse.device-broken`.
 */
export async function claimDevice(context: ClaimContext, wanted: DeviceState): Promise<Claim> {
  const claim = await claimOnce(context, wanted);
  if (claim === 'created' || wanted.attach !== 'vm' || !isBroken(context, wanted.name)) return claim;
  await removeBroken(context, wanted.name);
  return claimOnce(context, wanted);
}

/** Throws `vduse.destroy-failed`. */
export async function destroyDevice(admin: DeviceAdmin, stateFile: StateFile, name: string): Promise<void> {
  if ((await admin.destroy()) === 'busy') {
    throw new GatewayError('vduse.destroy-failed', `The VDUSE device "${name}" cannot be destroyed.`, {
      why: 'The kernel says that it is still attached, or open in another process.',
      fix: `Look who has it: "fuser /dev/vduse/${name}". Starting the disk again makes it anew.`,
    });
  }
  stateFile.remove();
}

async function claimOnce(context: ClaimContext, wanted: DeviceState): Promise<Claim> {
  const { admin, stateFile, paths } = context;
  const { name } = wanted;
  if (!(await make(context, wanted))) {
    if (isAttached(paths, name)) {
      checkAdoptable(stateFile.read(), wanted);
      return 'adopted';
    }
    if ((await admin.destroy()) === 'busy') throw deviceBusy(name);
    if (!(await make(context, wanted))) throw deviceBusy(name);
  }
  stateFile.write(wanted);
  return 'created';
}

/** False: there is one of that name already. */
async function make({ admin, logger }: ClaimContext, wanted: DeviceState): Promise<boolean> {
  const api = await admin.create(wanted);
  if (api === undefined) return false;
  logger.debug('VDUSE device made', { device: wanted.name, with: api });
  return true;
}

function isBroken({ syscalls, paths }: ClaimContext, name: string): boolean {
  using device = VduseDevice.open(syscalls, devicePath(paths, name), name);
  return device.broken;
}

/** Of a virtual machine that ended while nobody served its disk: the kernel waited in vain to tell of it. */
async function removeBroken({ admin }: ClaimContext, name: string): Promise<void> {
  const [holder] = await admin.holders();
  if (holder !== undefined) throw brokenInVm(name, holder);
  await detachDevice(admin, name);
}

function checkAdoptable(made: DeviceState | undefined, wanted: DeviceState): void {
  const { name } = wanted;
  if (made === undefined || made.name !== name) {
    throw new GatewayError(
      'vduse.device-exists',
      `There is a VDUSE device "${name}" that is not this disk’s.`,
      {
        why: 'It is attached, and the folder of this disk’s state has no record of it.',
        fix: `Use the --state-dir it was started with. If nothing needs it any more: "blockgate destroy ${name.replace(/^blockgate-/, '')}".`,
      },
    );
  }
  const difference = stateDifference(made, wanted);
  if (difference === undefined) return;
  throw new GatewayError(
    'vduse.device-differs',
    `The VDUSE device "${name}" was made with another configuration.`,
    {
      why: `An earlier process left it attached, and what its driver was told cannot be changed: ${difference}.`,
      fix: `Start the disk once with the earlier configuration, stop it, which detaches it, and start it with the new one. If nothing needs the device: "blockgate destroy ${name.replace(/^blockgate-/, '')}".`,
    },
  );
}

function deviceBusy(name: string): GatewayError {
  return new GatewayError('vduse.device-busy', `Another process serves the VDUSE device "${name}".`, {
    why: 'The device exists, is not attached, and cannot be destroyed: somebody has it open.',
    fix: `Stop the other gateway; "fuser /dev/vduse/${name}" tells which process it is.`,
  });
}
