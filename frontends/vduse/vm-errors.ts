import { GatewayError } from '../../core/api/errors.ts';
import type { Holder } from '../../core/api/frontend.ts';

/**
 * Instead of detaching a device that a hypervisor has open: the kernel waits for it to be closed, in a way that cannot
 * be interrupted, and everybody who speaks generic netlink on this machine waits too.
 */
export function openInVm(name: string, holder: Holder): GatewayError {
  return new GatewayError('vduse.open-in-vm', `The VDUSE device "${name}" stays attached.`, {
    why: `It is open in ${holder.description}, and the kernel cannot take it away. The virtual machine waits at its next request.`,
    fix: 'Start the disk again, and the virtual machine goes on. To be rid of the disk, end the virtual machine or unplug the disk there, then start the disk and stop it.',
  });
}

export function brokenInVm(name: string, holder: Holder): GatewayError {
  return new GatewayError('vduse.device-broken', `The kernel has given up the VDUSE device "${name}".`, {
    why: `A message of the kernel was not answered within msg_timeout, and ${holder.description} still has the device open.`,
    fix: 'End that virtual machine or unplug the disk there, and start the disk again.',
  });
}
