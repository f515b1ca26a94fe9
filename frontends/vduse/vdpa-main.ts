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

function carryOut(call: VdpaCall): VdpaOutcome {
  using socket = new NetlinkSocket();
  const family = decodeReply(socket.request(encodeGetFamily('vdpa')));
  if (family.familyId === undefined) return { ...family, step: 'find the vDPA bus' };
  const { name } = call;
  if (call.command === 'remove')
    return { ...decodeReply(socket.request(encodeDeviceDelete(family.familyId, name))), step: 'detach it' };
  const reply = decodeReply(socket.request(encodeDeviceNew(family.familyId, name)));
  if (reply.errno === 0) bindDriver(name, call.driver);
  return { ...reply, step: 'attach it' };
}

/**
 * Sees to it that the device has the wanted driver. Both drivers of the bus take any device, the call that attaches
 * binds the one that was loaded first, and a device has no name to set its `driver_override` by before that call. The
 * switch of the bus that would keep the kernel from binding (drivers_autoprobe) is everybody's: devices of others
 * would stay without a driver while it is off, and for good if this process died then.
 *
 * So the wrong driver may have had the device for a moment. That shows nothing to anybody: vhost_vdpa makes a node
 * that nobody opens, and virtio_vdpa gets no disk, because the session refuses the features of every driver until a
 * device for a hypervisor has the right one. The override comes before `unbind`, so that a driver whose module is
 * loaded meanwhile does not take the device, and stays for whoever binds it anew.
 */
function bindDriver(name: string, driver: string): void {
  const device = busPath(hostPaths, name);
  const drivers = join(hostPaths.sys, 'bus/vdpa/drivers');
  writeFileSync(join(device, 'driver_override'), driver);
  const current = boundDriver(device);
  if (current === driver) return;
  if (current !== undefined) writeFileSync(join(drivers, current, 'unbind'), name);
  try {
    writeFileSync(join(drivers, driver, 'bind'), name);
  } catch (error) {
    // Whoever loaded the module a moment ago had the kernel bind it.
    if (boundDriver(device) !== driver) throw error;
  }
}

function boundDriver(device: string): string | undefined {
  const link = join(device, 'driver');
  return existsSync(link) ? basename(readlinkSync(link)) : undefined;
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
