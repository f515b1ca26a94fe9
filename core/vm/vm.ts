import type { GuestScript } from './guest-script.ts';
import { type RunOptions, VmSession, type VmSessionOptions } from './session.ts';

export { VmSession };

export interface RunInVmOptions extends VmSessionOptions, RunOptions {
  readonly script: GuestScript;
}

export interface RunInVmResult {
  readonly exitCode: number;
  readonly timedOut: boolean;
  readonly stdout: string;
  readonly stderr: string;
  /** Of the script alone. */
  readonly durationMs: number;
  readonly bootMs: number;
  /** What the guest's kernel printed. */
  readonly console: string;
}

/** Boots a VM, runs one script in it, and ends it. To run several, hold a `VmSession`. */
export async function runInVm(options: RunInVmOptions): Promise<RunInVmResult> {
  await using session = await VmSession.start(options);
  const result = await session.run(options.script, options);
  return { ...result, bootMs: session.bootMs, console: await session.console() };
}
