import { formatSize } from '../../util/size.ts';
import { ControlClient } from '../control/client.ts';
import { ProgressBar } from './progress-bar.ts';
import type { Terminal } from './terminal.ts';

interface Options {
  readonly stateDir: string;
  readonly json?: boolean;
}

/** Throws `disk.held` while somebody uses the disk, unless forced; then it says who lost it. */
export async function detachDisk(
  disk: string,
  { stateDir, json, force = false }: Options & { readonly force?: boolean },
  terminal: Terminal,
): Promise<void> {
  using _progress = new ProgressBar(terminal, `Detaching ${disk}`);
  const { holders } = await new ControlClient(stateDir).ask({ method: 'detach', disk, force });
  if (json) return terminal.printJson({ disk, holders });
  if (holders.length > 0)
    terminal.say(`Taken away while it was ${holders.map(({ description }) => description).join(', ')}.`);
  terminal.say(`${terminal.tint('green', '✔')} ${disk} is detached`);
}

export async function upgradeDisk(
  disk: string,
  { stateDir, json }: Options,
  terminal: Terminal,
): Promise<void> {
  using _progress = new ProgressBar(terminal, `Upgrading ${disk}`);
  const { pausedMs } = await new ControlClient(stateDir).ask({ method: 'upgrade', disk });
  if (json) return terminal.printJson({ disk, pausedMs });
  terminal.say(
    `${terminal.tint('green', '✔')} ${disk} is served by a new process; I/O paused for ${pausedMs} ms`,
  );
}

export async function resizeDisk(
  disk: string,
  wanted: number | undefined,
  { stateDir, json }: Options,
  terminal: Terminal,
): Promise<void> {
  const request = { method: 'resize', disk, ...(wanted !== undefined && { size: wanted }) } as const;
  using _progress = new ProgressBar(terminal, `Growing ${disk}`);
  const { size } = await new ControlClient(stateDir).ask(request);
  if (json) return terminal.printJson({ disk, size });
  terminal.say(`${terminal.tint('green', '✔')} ${disk} has ${formatSize(size)} now`);
}

export async function snapshotDisk(
  disk: string,
  name: string,
  { stateDir, json, at }: Options & { readonly at?: Date },
  terminal: Terminal,
): Promise<void> {
  using _progress = new ProgressBar(terminal, `Snapshot of ${disk}`);
  const request = { method: 'snapshot', disk, name, ...(at && { at: at.toISOString() }) } as const;
  const snapshot = await new ControlClient(stateDir).ask(request);
  if (json) return terminal.printJson({ disk, ...snapshot });
  const what = at === undefined ? 'holds' : `was at ${snapshot.createdAt}`;
  terminal.say(`${terminal.tint('green', '✔')} what ${disk} ${what} is kept as "${name}"`);
}
