import { GatewayError } from '../../api/errors.ts';
import { ConfigErrors } from '../../config/config-errors.ts';

/** What the shell gets to know. Listed in docs/cli.md. */
export const ExitCode = {
  OK: 0,
  FAILED: 1,
  /** Wrong usage, or a mistake in plugins.json: nothing was started. */
  USAGE: 2,
  /** `doctor`, or a check of a volume or store, found something that has to be fixed. */
  FINDINGS: 3,
  /** Refused because somebody uses or owns the disk or volume. */
  IN_USE: 4,
} as const;

const SIGNAL_NUMBERS: Partial<Record<NodeJS.Signals, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGKILL: 9,
  SIGTERM: 15,
};

/** As shells count a command that a signal ended: 130 for SIGINT, 143 for SIGTERM. */
export function signalExitCode(signal: NodeJS.Signals): number {
  return 128 + (SIGNAL_NUMBERS[signal] ?? 0);
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof ConfigErrors) return ExitCode.USAGE;
  if (error instanceof Interrupted) return signalExitCode(error.signal);
  if (!GatewayError.is(error)) return ExitCode.FAILED;
  if (/^(cli|config|plugin)\./.test(error.code)) return ExitCode.USAGE;
  return /\.(held|in-use|owned|locked)$/.test(error.code) ? ExitCode.IN_USE : ExitCode.FAILED;
}

/** A signal ended the command before its work was done. */
export class Interrupted extends Error {
  readonly signal: NodeJS.Signals;

  constructor(signal: NodeJS.Signals) {
    super(`ended by ${signal}`);
    this.name = 'Interrupted';
    this.signal = signal;
  }
}
