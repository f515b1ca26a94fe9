import type { Finding } from '../../api/backend.ts';
import { ExitCode } from './exit-code.ts';
import type { Terminal } from './terminal.ts';

/** A finding and what it is about. */
export interface Diagnosis extends Finding {
  /** `machine`, `vduse`, or the name of a disk. */
  readonly subject: string;
}

const MARKS = {
  ok: ['green', '✔'],
  warning: ['yellow', '⚠'],
  error: ['red', '✖'],
} as const satisfies Record<Finding['severity'], readonly [string, string]>;

/** One line each, and how to mend it. */
export function printFindings(findings: readonly Diagnosis[], terminal: Terminal): void {
  for (const finding of findings) terminal.print(line(finding, terminal));
}

export function statusOf(findings: readonly Finding[]): number {
  return findings.some(({ severity }) => severity === 'error') ? ExitCode.FINDINGS : ExitCode.OK;
}

function line({ subject, severity, summary, fix }: Diagnosis, terminal: Terminal): string {
  const [colour, mark] = MARKS[severity];
  const first = `${terminal.style(colour, mark)} ${subject}: ${summary}`;
  return fix === undefined
    ? first
    : `${first}\n    ${terminal.style('dim', 'Fix')}  ${fix.replaceAll('\n', '\n         ')}`;
}
