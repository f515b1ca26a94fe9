import type { VolumeInfo } from '../../api/backend.ts';
import { formatSize } from '../../util/size.ts';
import type { Terminal } from './terminal.ts';

/** One fact to a line, or as JSON. */
export function printVolume(
  volume: VolumeInfo,
  { json }: { readonly json?: boolean },
  terminal: Terminal,
): void {
  if (json) {
    terminal.printJson(volume);
    return;
  }
  const { name, size, used, owner, details = {} } = volume;
  const facts: [string, string][] = [
    ['name', name],
    ['size', formatSize(size)],
    ...(used === undefined ? [] : [['used', formatSize(used)] as [string, string]]),
    ['owner', owner ?? 'nobody'],
    ...Object.entries(details).map(([key, value]): [string, string] => [key, String(value)]),
  ];
  const width = Math.max(...facts.map(([key]) => key.length));
  terminal.print(facts.map(([key, value]) => `${key.padEnd(width)}  ${value}`).join('\n'));
}
