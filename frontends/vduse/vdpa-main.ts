/**
 * Attaches a VDUSE device to the vDPA bus, or takes it off: `node vdpa-main.ts add|remove NAME`.
 *
 * A process of its own, because the kernel answers only when the driver is done with the device: that takes the
 * messages and the I/O which the gateway's process serves meanwhile, and cannot always be interrupted. Prints one
 * line of JSON, `VdpaOutcome`.
 */
import { existsSync, readlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { SystemError } from '../../core/system/errno.ts';
import { NetlinkSocket } from '../../core/system/netlink-socket.ts';
import { busPath, hostPaths } from './host-paths.ts';
import { decodeReply, encodeDeviceDelete, encodeDeviceNew, encodeGetFamily } from './netlink.ts';
import type { VdpaOutcome } from './vdpa-bus.ts';

const DRIVER = 'virtio_vdpa';

function main(command: string | undefined, name: string | undefined): VdpaOutcome {
  if (name === undefined || (command !== 'add' && command !== 'remove'))
    return { step: 'usage: add|remove NAME', errno: 22 };
  using socket = new NetlinkSocket();
  const family = decodeReply(socket.request(encodeGetFamily('vdpa')));
  if (family.familyId === undefined) return { ...family, step: 'look for the vDPA family' };
  const encode = command === 'add' ? encodeDeviceNew : encodeDeviceDelete;
  const reply = decodeReply(socket.request(encode(family.familyId, name)));
  if (reply.errno === 0 && command === 'add') bindDriver(name);
  return { ...reply, step: command };
}

/** Both drivers of the bus take any device, and the one that was loaded first has it now. */
function bindDriver(name: string): void {
  const device = busPath(hostPaths, name);
  const driver = join(device, 'driver');
  const current = existsSync(driver) ? basename(readlinkSync(driver)) : undefined;
  if (current === DRIVER) return;
  const drivers = join(hostPaths.sys, 'bus/vdpa/drivers');
  writeFileSync(join(device, 'driver_override'), DRIVER);
  if (current !== undefined) writeFileSync(join(drivers, current, 'unbind'), name);
  writeFileSync(join(drivers, DRIVER, 'bind'), name);
}

function attempt(): VdpaOutcome {
  try {
    return main(process.argv[2], process.argv[3]);
  } catch (error) {
    const errno =
      error instanceof SystemError ? error.errno : -((error as NodeJS.ErrnoException).errno ?? -5);
    return { errno, step: (error as Error).message };
  }
}

process.stdout.write(`${JSON.stringify(attempt())}\n`);
