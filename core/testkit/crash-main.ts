import { CRASH_AREA, CRASH_PIECE, type CrashMessage } from './crash.ts';
import { type DiskSource, openDisk } from './opened-disk.ts';
import { pattern } from './pattern.ts';

/** The process that is killed. Its argument is what it opens. */

const say = (message: CrashMessage): unknown => process.send!(message);

try {
  const source = JSON.parse(process.argv[2]!) as DiskSource;
  const { volume } = await openDisk(source, { takeOver: true });
  process.on('disconnect', () => process.exit(1));
  for (let round = 1; ; round++) {
    const pieces: (void | Promise<void>)[] = [];
    for (let at = 0; at < CRASH_AREA; at += CRASH_PIECE)
      pieces.push(volume.write(at, [pattern(at, CRASH_PIECE, round)], 0));
    await Promise.all(pieces);
    await volume.flush(0);
    say({ flushed: round });
    // What completes at once would leave the channel no time.
    await new Promise((resolve) => setImmediate(resolve));
  }
} catch (error) {
  say({ failed: (error as Error).stack ?? String(error) });
}
