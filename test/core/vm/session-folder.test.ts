import { mkdtemp, readdir, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SessionFolder } from '../../../core/vm/session-folder.ts';

describe('SessionFolder', () => {
  it('is gone with all its content when disposed of', async () => {
    const folder = await SessionFolder.create();
    expect((await stat(folder.file('host', 'runs'))).isDirectory()).toBe(true);
    await folder[Symbol.asyncDispose]();
    expect(await readdir(tmpdir())).not.toContain(basename(folder.path));
  });

  it('removes the folder of a process that was killed, and leaves alone that of one that runs', async () => {
    // No process has this id: Linux ends at 2^22.
    const abandoned = await mkdtemp(join(tmpdir(), 'blockgate-vm-4194305-'));
    await using other = await SessionFolder.create();
    await using _ = await SessionFolder.create();
    const names = await readdir(tmpdir());
    expect(names).not.toContain(basename(abandoned));
    expect(names).toContain(basename(other.path));
  });
});
