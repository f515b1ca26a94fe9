import type { ResolvedCaps } from '../api/device.ts';

/** One layer of a disk, as shown to the user. */
export interface StackLayer {
  readonly kind: 'frontend' | 'filter' | 'automatic' | 'backend';
  readonly name: string;
  /** Why an automatic layer is there. */
  readonly reason?: string;
}

/** `vduse > readonly > stats > serialize > file`: from the guest to the store. */
export function formatStack(stack: readonly StackLayer[]): string {
  return stack.map((layer) => layer.name).join(' > ');
}

/** What the guest may do, in a few words: `read write flush discard`. */
export function formatCaps(caps: ResolvedCaps): string {
  const words = ['read'];
  if (caps.write) words.push('write');
  if (caps.flush) words.push('flush');
  if (caps.fua !== 'none') words.push(caps.fua === 'native' ? 'fua' : 'fua (emulated)');
  if (caps.discard) words.push('discard');
  if (caps.writeZeroes !== 'none') {
    words.push(caps.writeZeroes === 'native' ? 'write-zeroes' : 'write-zeroes (emulated)');
  }
  if (caps.volatile) words.push('volatile');
  return words.join(', ');
}
