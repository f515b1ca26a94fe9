/**
 * Attaches VDUSE devices to the vDPA bus and takes them off it: reads a `VdpaCall` per line, answers each with a
 * `VdpaOutcome`, ends with its stdin.
 *
 * A process of its own, because the kernel answers only when the driver is done with the device: that takes the
 * messages and the requests which the gateway's process serves meanwhile, and cannot always be interrupted.
 */
import { existsSync, readlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { Errno, SystemError } from '../../core/system/errno.ts';
import { NetlinkSocket } from '../../core/system/netlink-socket.ts';
import { busPath, hostPaths } from './host-paths.ts';
import { decodeReply, encodeDeviceDelete, encodeDeviceNew, encodeGetFamily } from './netlink.ts';
import type { VdpaCall, VdpaOutcome } from './vdpa-process.ts';

const DRIVER = 'virtio_vdpa';

function carryOut({ command, name }: VdpaCall): VdpaOutcome {
  using socket = new NetlinkSocket();
  const family = decodeReply(socket.request(encodeGetFamily('vdpa')));
  if (family.familyId === undefined) return { ...family, step: 'find the vDPA bus' };
  const encode = command === 'add' ? encodeDeviceNew : encodeDeviceDelete;
  const reply = decodeReply(socket.request(encode(family.familyId, name)));
  if (reply.errno === 0 && command === 'add') bindDriver(name);
  return { ...reply, step: command === 'add' ? 'attach it' : 'detach it' };
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

function attempt(call: VdpaCall): VdpaOutcome {
  try {
    return carryOut(call);
  } catch (error) {
    return { errno: errnoOf(error), step: `${call.command} it`, message: (error as Error).message };
  }
}

function errnoOf(error: unknown): number {
  if (error instanceof SystemError) return error.errno;
  return -((error as NodeJS.ErrnoException).errno ?? -Errno.EIO);
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(attempt(JSON.parse(line) as VdpaCall))}\n`);
}
