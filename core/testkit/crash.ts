import { fork } from 'node:child_process';
import { once } from 'node:events';
import { extname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { StoreUnderTest } from './opened-disk.ts';
import { readAt, roundsOf } from './pattern.ts';

/** What the process that is killed writes over and over: so many bytes from the beginning, in pieces of so many. */
export const CRASH_AREA = 1024 * 1024;
export const CRASH_PIECE = 64 * 1024;

/** Said by that process when version `flushed` of all of it is durable. */
export interface CrashMessage {
  readonly flushed?: number;
  readonly failed?: string;
}

/**
 * Another process opens the disk and writes one version after the other, with a flush behind each, until it is killed.
 * Then every sector has the version that was flushed last, or a later one.
 */
export async function killBetweenWriteAndFlush(store: StoreUnderTest): Promise<void> {
  const main = new URL(`./crash-main${extname(import.meta.url)}`, import.meta.url);
  const child = fork(main, [JSON.stringify(store.source)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const gone = once(child, 'exit');
  let flushed = 0;
  let failure: string | undefined;
  child.on('message', (message: CrashMessage) => {
    flushed = message.flushed ?? flushed;
    failure ??= message.failed;
  });
  try {
    while (flushed < 2) {
      if (failure !== undefined) throw new Error(failure);
      if (child.exitCode !== null)
        throw new Error(`the process of the disk ended with status ${child.exitCode}`);
      await delay(5);
    }
    await delay(Math.random() * 50);
  } finally {
    child.kill('SIGKILL');
    await gone;
  }
  await using disk = await store.open({ takeOver: true });
  const rounds = roundsOf(await readAt(disk.volume, 0, CRASH_AREA), 0);
  const oldest = Math.min(...rounds);
  if (oldest < flushed)
    throw new Error(
      `version ${flushed} was flushed, and after the kill there are sectors of version ${oldest}`,
    );
}
