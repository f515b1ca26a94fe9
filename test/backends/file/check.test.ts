import { readdirSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fileConfig } from '../../../backends/file/config.ts';
import file from '../../../backends/file/index.ts';
import { openContext } from '../../support/plugin-context.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const MIB = 2 ** 20;

async function findings(folder: string, config: object): Promise<readonly string[]> {
  const parsed = fileConfig.parse({ path: 'disk.img', ...config });
  const found = await file.check!(parsed, openContext(folder));
  return found.map(({ severity, summary }) => `${severity}: ${summary}`);
}

describe('check of the file backend', () => {
  it('reports the size and the use of a file', async () => {
    using folder = tempFolder();
    writeFileSync(folder.file('disk.img'), new Uint8Array(MIB).fill(1));
    expect(await findings(folder.path, {})).toEqual([
      `ok: ${folder.file('disk.img')} is 1 MiB, 1 MiB of it in use.`,
    ]);
  });

  it('tells what would be created, and creates nothing', async () => {
    using folder = tempFolder();
    expect(await findings(folder.path, { size: MIB })).toEqual([
      `ok: ${folder.file('disk.img')} will be created with 1 MiB.`,
    ]);
    expect(readdirSync(folder.path)).toEqual([]);
  });

  it('warns of a size that the file system has no room for', async () => {
    using folder = tempFolder();
    const [, warning] = await findings(folder.path, { size: '2PiB' });
    expect(warning).toMatch(
      /^warning: The file may grow by 2 PiB, but its file system has only .+iB left\.$/,
    );
  });

  it.each([
    ['a missing file without a size', {}, 'PATH does not exist.'],
    [
      'a missing folder',
      { path: 'a/disk.img', size: MIB },
      'The folder of FOLDER/a/disk.img does not exist.',
    ],
    ['a folder', { path: '.' }, 'FOLDER is a folder.'],
  ])('reports %s as an error', async (_name, config, message) => {
    using folder = tempFolder();
    const text = message.replace('PATH', folder.file('disk.img')).replace('FOLDER', folder.path);
    expect(await findings(folder.path, config)).toEqual([`error: ${text}`]);
  });
});
