import type { AffectedRange, VolumeCheck, VolumeFinding } from '../../api/backend.ts';
import { GatewayError } from '../../api/errors.ts';
import { ExitCode } from './exit-code.ts';
import { ProgressBar } from './progress-bar.ts';
import { table } from './table.ts';
import type { Terminal } from './terminal.ts';
import type { VolumeOperation, VolumeRequest } from './volumes.ts';

/** Of one finding, as many ranges are shown; JSON has all. */
const MAX_RANGES = 4;

const REPAIR: Record<VolumeFinding['repair'], string> = {
  none: '-',
  possible: 'with --repair',
  done: 'repaired',
};

/** Verifies what is stored of the volume, and prints what was found. Returns the exit status. */
export async function checkVolume(
  { volumes, config, ctx }: VolumeOperation,
  { target, json, data = false, repair = false }: VolumeRequest,
  terminal: Terminal,
): Promise<number> {
  if (volumes.check === undefined) {
    throw new GatewayError('volume.unsupported', `The backend of ${target} has nothing to check.`, {
      fix: 'Use the tools of its store.',
    });
  }
  const checked = await (async () => {
    using bar = new ProgressBar(terminal, 'Checking', { unit: 'count' });
    const progress = (done: number, total: number): void => bar.update(done, total);
    return await volumes.check!(config, { data, repair, progress }, ctx);
  })();
  const { findings, counts } = checked;
  if (json) terminal.printJson({ findings, counts });
  else printCheck(target, checked, data, terminal);
  return findings.some(({ severity }) => severity === 'error') ? ExitCode.FINDINGS : ExitCode.OK;
}

function printCheck(
  target: string,
  { findings, counts }: VolumeCheck,
  data: boolean,
  terminal: Terminal,
): void {
  if (findings.length > 0) {
    const rows = findings.map((finding) => [
      finding.severity,
      finding.what,
      finding.count > 1 ? `${finding.where} and ${finding.count - 1} more` : finding.where,
      showRanges(finding.affected),
      REPAIR[finding.repair],
    ]);
    terminal.print(table(['SEVERITY', 'WHAT', 'WHERE', 'AFFECTED BYTES', 'REPAIR'], rows));
  }
  const looked = Object.entries(counts).map(([what, count]) => `${what}: ${count}`);
  if (looked.length > 0) terminal.print(looked.join(', '));
  terminal.print(`${target}: ${verdict(findings, data)}`);
}

function verdict(findings: readonly VolumeFinding[], data: boolean): string {
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  if (errors > 0) return `damaged, ${errors} ${errors === 1 ? 'error' : 'errors'}`;
  return data ? 'sound' : 'sound; its data was not read (--data)';
}

function showRanges(ranges: readonly AffectedRange[]): string {
  if (ranges.length === 0) return '-';
  const shown = ranges.slice(0, MAX_RANGES).map(({ snapshot, offset, length }) => {
    const range = `${offset}+${length}`;
    return snapshot === undefined ? range : `${range} of snapshot "${snapshot}"`;
  });
  const more = ranges.length - shown.length;
  return more > 0 ? `${shown.join(', ')} and ${more} more` : shown.join(', ');
}
