import { loadConfig } from '../../config/load.ts';
import { createLogger } from '../../observe/logger.ts';
import { formatSize } from '../../util/size.ts';
import { type CopyRequest, copyDisk } from '../copy/copy-disk.ts';
import type { Settings } from '../settings.ts';
import { onTermination } from '../signals.ts';
import { ExitCode, Interrupted } from './exit-code.ts';
import { ProgressBar } from './progress-bar.ts';
import type { Terminal } from './terminal.ts';

export type CopyVolumeRequest = Pick<CopyRequest, 'direction' | 'disk' | 'image' | 'format'> &
  Partial<CopyRequest> & { readonly json?: boolean };

/** Runs `volume import` or `volume export`. Returns the exit status. */
export async function copyVolume(
  request: CopyVolumeRequest,
  settings: Settings,
  terminal: Terminal,
): Promise<number> {
  const { allowSmaller = false, overwrite = false, resume = false, verify = false, ...rest } = request;
  const { direction, disk, image } = rest;
  const config = await loadConfig(settings.configFile, { overrides: settings.overrides });
  const giveUp = new AbortController();
  using _signals = onTermination((signal) => giveUp.abort(new Interrupted(signal)));
  let isCopied = false;
  try {
    using bar = new ProgressBar(terminal, 'Copying');
    const bytes = await copyDisk(
      { ...rest, allowSmaller, overwrite, resume, verify },
      {
        config,
        stateDir: settings.stateDir,
        logger: createLogger({
          level: settings.logLevel,
          format: settings.logFormat,
          write: settings.writeLog,
        }),
        signal: giveUp.signal,
        progress: (what, done, total) => {
          isCopied = what === 'comparing';
          if (isCopied) bar.relabel('Comparing');
          bar.update(done, total);
        },
      },
    );
    bar[Symbol.dispose]();
    if (request.json) terminal.printJson({ disk, image, bytes, verified: verify });
    else
      terminal.say(
        `${direction === 'import' ? `${image} is in ${disk}` : `${disk} is in ${image}`}: ${formatSize(bytes)}`,
      );
  } catch (error) {
    if (!giveUp.signal.aborted) throw error;
    terminal.say(
      isCopied
        ? 'interrupted while both were compared; the copy itself is complete'
        : 'interrupted; --resume goes on where everything was durable',
    );
    throw giveUp.signal.reason;
  }
  return ExitCode.OK;
}
