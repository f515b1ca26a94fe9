import { existsSync } from 'node:fs';
import { GatewayError } from '../../core/api/errors.ts';
import type { DeviceAdmin } from './device-admin.ts';
import { busPath, type HostPaths } from './host-paths.ts';
import { type DeviceState, type StateFile, stateDifference } from './state-file.ts';

/** What to do with a device that was there already. `'adopted'`: it is attached, and its driver may be waiting. */
export type Claim = 'created' | 'adopted';

/**
 * Makes the device, or decides that the one of that name can be served again. One that is not attached is useless to
 * everybody and made anew. Throws `vduse.device-busy`, `vduse.device-exists` or `vduse.device-differs`.
 */
export async function claimDevice(
  admin: DeviceAdmin,
  stateFile: StateFile,
  wanted: DeviceState,
  paths: HostPaths,
): Promise<Claim> {
  if ((await admin.create(wanted)) === 'exists') {
    if (existsSync(busPath(paths, wanted.name))) {
      checkAdoptable(stateFile.read(), wanted);
      return 'adopted';
    }
    if ((await admin.destroy()) === 'busy') throw deviceBusy(wanted.name);
    if ((await admin.create(wanted)) === 'exists') throw deviceBusy(wanted.name);
  }
  stateFile.write(wanted);
  return 'created';
}

function checkAdoptable(made: DeviceState | undefined, wanted: DeviceState): void {
  const { name } = wanted;
  if (made === undefined || made.name !== name) {
    throw new GatewayError(
      'vduse.device-exists',
      `There is a VDUSE device "${name}" that is not this disk’s.`,
      {
        why: 'It is attached, and the folder of this disk’s state has no record of it.',
        fix: `Use the --state-dir it was started with. If nothing needs it any more: "vdpa dev del ${name}".`,
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
      fix: 'Start the disk once with the earlier configuration and stop it; then start it with the new one.',
    },
  );
}

function deviceBusy(name: string): GatewayError {
  return new GatewayError('vduse.device-busy', `Another process serves the VDUSE device "${name}".`, {
    why: 'The device exists, is not attached, and cannot be destroyed: somebody has it open.',
    fix: `Stop the other gateway; "fuser /dev/vduse/${name}" tells which process it is.`,
  });
}
