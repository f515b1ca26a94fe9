import type { ResolvedDevice } from '../api/device.ts';
import { Align } from './align.ts';
import { ReadOnly } from './read-only.ts';
import { Serialize } from './serialize.ts';
import { Split } from './split.ts';

/** Largest logical block a Linux guest accepts from virtio-blk. */
const MAX_GUEST_BLOCK = 4096;

/** A layer that nobody configured, and why it is there; shown by `blockgate check` and at start. */
export interface AutomaticLayer {
  readonly name: 'serialize' | 'split' | 'align' | 'readonly';
  readonly reason: string;
}

/** The layers next to the backend: they make any device take what the filters and the guest may send. */
export function adaptDevice(device: ResolvedDevice): { device: ResolvedDevice; added: AutomaticLayer[] } {
  const added: AutomaticLayer[] = [];
  let top = device;
  if (top.caps.concurrency === 'serial') {
    top = new Serialize(top);
    added.push({ name: 'serialize', reason: 'the backend takes one call at a time' });
  }
  if (Split.isNeededFor(top)) {
    top = new Split(top);
    added.push({ name: 'split', reason: 'the backend limits the size of a request' });
  }
  if (top.limits.blockSize > MAX_GUEST_BLOCK) {
    const reason = `the backend's block of ${top.limits.blockSize} is larger than a guest's (${MAX_GUEST_BLOCK})`;
    top = new Align(top, MAX_GUEST_BLOCK);
    added.push({ name: 'align', reason });
  }
  return { device: top, added };
}

/** The layer nearest the guest of a disk that is configured read-only. */
export function protect(
  device: ResolvedDevice,
  readOnly: boolean,
): { device: ResolvedDevice; added: AutomaticLayer[] } {
  if (!readOnly || !device.caps.write) return { device, added: [] };
  return {
    device: new ReadOnly(device),
    added: [{ name: 'readonly', reason: 'the disk is configured read-only' }],
  };
}
