import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { fileConfig } from '../../../backends/file/config.ts';
import file from '../../../backends/file/index.ts';
import type { OpenContext } from '../../../core/api/backend.ts';
import { openContext } from '../../support/plugin-context.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const MIB = 2 ** 20;

function openDisk(folder: string, config: object, context: Partial<OpenContext> = {}) {
  return file.open(fileConfig.parse({ path: 'disk.img', ...config }), openContext(folder, context));
}

describe('opening a file', () => {
  it('creates a missing file sparse, private, and at its full size', async () => {
    using folder = tempFolder();
    await using device = await openDisk(folder.path, { size: '1GiB' });
    expect(device.info.size).toBe(2 ** 30);
    const stats = statSync(folder.file('disk.img'));
    expect([stats.size, stats.blocks, stats.mode & 0o777]).toEqual([2 ** 30, 0, 0o600]);
  });

  it('takes an existing file as it is, with and without a size', async () => {
    using folder = tempFolder();
    writeFileSync(folder.file('disk.img'), new Uint8Array(MIB).fill(7));
    for (const config of [{}, { size: '1MiB' }]) {
      await using device = await openDisk(folder.path, config);
      const block = new Uint8Array(512);
      await device.read(MIB - 512, [block], 0);
      expect([device.info.size, block[511]]).toEqual([MIB, 7]);
    }
  });

  it('completes a creation that was interrupted before the file had its size', async () => {
    using folder = tempFolder();
    writeFileSync(folder.file('disk.img'), '');
    await using device = await openDisk(folder.path, { size: MIB });
    expect([device.info.size, statSync(folder.file('disk.img')).size]).toEqual([MIB, MIB]);
  });

  it('offers what the file can do, and to a read-only disk only reading', async () => {
    using folder = tempFolder();
    const methods = (device: object) =>
      Object.keys(device)
        .filter((key) => key !== 'info')
        .sort();
    {
      await using device = await openDisk(folder.path, { size: MIB });
      expect(methods(device)).toEqual([
        'discard',
        'extents',
        'flush',
        'perThread',
        'read',
        'resize',
        'write',
        'writeZeroes',
      ]);
      expect(device.info.limits).toEqual({
        blockSize: 512,
        physicalBlockSize: 4096,
        discardGranularity: 4096,
      });
    }
    await using device = await openDisk(folder.path, {}, { readOnly: true });
    expect(methods(device)).toEqual(['extents', 'perThread', 'read', 'resize']);
    expect(device.info.caps?.readOnly).toBe(true);
  });

  it('keeps what was written and flushed, past the page cache too', async () => {
    using folder = tempFolder();
    for (const direct of [true, false]) {
      const path = `${direct}.img`;
      const block = new Uint8Array(4096).fill(direct ? 1 : 2);
      {
        await using device = await openDisk(folder.path, { path, size: MIB, direct });
        await device.write?.(8192, [block], 0);
        await device.flush?.(0);
      }
      await using device = await openDisk(folder.path, { path, direct });
      const back = new Uint8Array(4096);
      await device.read(8192, [back], 0);
      expect(back).toEqual(block);
    }
  });

  it('closes everything it opened', async () => {
    using folder = tempFolder();
    const before = readdirSync('/proc/self/fd').length;
    for (let i = 0; i < 5; i++) {
      await using device = await openDisk(folder.path, { size: MIB });
      await device.flush?.(0);
    }
    await expect(openDisk(folder.path, { size: 2 * MIB })).rejects.toThrow();
    expect(readdirSync('/proc/self/fd')).toHaveLength(before);
  });
});

describe('two users of one file', () => {
  it('lets only one of them write, and names the one that has it', async () => {
    using folder = tempFolder();
    await using _first = await openDisk(folder.path, { size: MIB });
    const refusal = {
      code: 'volume.in-use',
      message: expect.stringMatching(
        `^${folder.file('disk.img')} is in use by process ${process.pid} \\(.+\\)\\.$`,
      ),
      why: "It holds a lock on the file. Two writers would destroy each other's data.",
      fix: 'Stop the other one first.',
    };
    await expect(openDisk(folder.path, {})).rejects.toMatchObject(refusal);
    await expect(openDisk(folder.path, {}, { readOnly: true })).rejects.toMatchObject(refusal);
  });

  it('lets any number of them read', async () => {
    using folder = tempFolder();
    await using writer = await openDisk(folder.path, { size: MIB });
    await writer[Symbol.asyncDispose]();
    await using _first = await openDisk(folder.path, {}, { readOnly: true });
    await using _second = await openDisk(folder.path, {}, { readOnly: true });
    await expect(openDisk(folder.path, {})).rejects.toMatchObject({ code: 'volume.in-use' });
  });

  it('needs no clean-up after one that was killed', async () => {
    using folder = tempFolder();
    writeFileSync(folder.file('disk.img'), new Uint8Array(MIB));
    const lock = new URL('../../../core/system/file-lock.ts', import.meta.url).href;
    const script = `
      import { openSync } from 'node:fs';
      import { tryLockFile } from ${JSON.stringify(lock)};
      console.log(tryLockFile(openSync(process.argv[1], 'r+'), 'exclusive'));
      setInterval(() => {}, 1000);`;
    const args = ['--input-type=module', '--eval', script, folder.file('disk.img')];
    const other = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(other.stdout, 'data');
    await expect(openDisk(folder.path, {})).rejects.toThrow(`in use by process ${other.pid} (`);
    other.kill('SIGKILL');
    await once(other, 'close');
    await using device = await openDisk(folder.path, {});
    expect(device.info.size).toBe(MIB);
  });
});

/** `PATH` stands for the file's path, `FOLDER` for its folder. */
const refusals: readonly {
  readonly name: string;
  readonly prepare?: (path: string) => void;
  readonly config?: object;
  readonly readOnly?: true;
  readonly code: string;
  readonly message: string;
  readonly why: string | undefined;
  readonly fix: string | undefined;
}[] = [
  {
    name: 'a missing file without a size',
    code: 'file.size-required',
    message: 'The size of PATH is not known.',
    why: 'The file does not exist yet.',
    fix: 'Give the backend a "size", such as "10GiB".',
  },
  {
    name: 'an empty file without a size',
    prepare: (path) => writeFileSync(path, ''),
    code: 'file.size-required',
    message: 'The size of PATH is not known.',
    why: 'The file is empty.',
    fix: 'Give the backend a "size", such as "10GiB".',
  },
  {
    name: 'a missing file that is not to be created',
    config: { size: MIB, create: false },
    code: 'file.not-found',
    message: 'PATH does not exist.',
    why: undefined,
    fix: 'Correct "path", or let it be created: "create": true and a "size".',
  },
  {
    name: 'a missing file for a read-only disk',
    config: { size: MIB },
    readOnly: true,
    code: 'file.not-found',
    message: 'PATH does not exist.',
    why: undefined,
    fix: 'Correct "path"; a file is not created for a read-only disk.',
  },
  {
    name: 'a symbolic link to nowhere',
    prepare: (path) => symlinkSync('/nonexistent/target', path),
    config: { size: MIB },
    code: 'file.not-found',
    message: 'PATH is a symbolic link to a file that does not exist.',
    why: undefined,
    fix: 'Create its target, or correct "path".',
  },
  {
    name: 'a folder that does not exist',
    config: { path: 'missing/disk.img', size: MIB },
    code: 'file.folder-not-found',
    message: 'The folder of FOLDER/missing/disk.img does not exist.',
    why: 'The file is created when it is missing, its folder is not.',
    fix: 'Create the folder, or correct "path": mkdir --parents FOLDER/missing',
  },
  {
    name: 'a folder',
    config: { path: '.' },
    code: 'file.unsupported-type',
    message: 'FOLDER is a folder.',
    why: 'A disk can be stored in a regular file or a block device.',
    fix: 'Name a file in it, such as FOLDER/disk.img.',
  },
  {
    name: 'a character device',
    config: { path: '/dev/null' },
    code: 'file.unsupported-type',
    message: '/dev/null is a character device.',
    why: 'A disk can be stored in a regular file or a block device.',
    fix: 'Name another path.',
  },
  {
    name: 'a file of another size',
    prepare: (path) => writeFileSync(path, new Uint8Array(MIB)),
    config: { size: '2MiB' },
    code: 'file.size-mismatch',
    message: 'PATH is 1048576 bytes (1 MiB), but the configuration says 2097152 bytes (2 MiB).',
    why: '"size" is what a file is created with; a file that exists keeps the size it has.',
    fix: 'Set "size" to 1048576 or leave it out; or grow the file with "blockgate volume resize".',
  },
  {
    name: 'a size to create that is no multiple of 512',
    config: { size: 1000 },
    code: 'file.size-unaligned',
    message: 'The size of PATH, 1000 bytes, is not a multiple of 512.',
    why: 'A disk consists of whole blocks, here of 512 bytes.',
    fix: 'Use a size of 1024 bytes.',
  },
  {
    name: 'a file whose size is no multiple of 512',
    prepare: (path) => {
      writeFileSync(path, '');
      truncateSync(path, 1000);
    },
    code: 'file.size-unaligned',
    message: 'The size of PATH, 1000 bytes, is not a multiple of 512.',
    why: 'A disk consists of whole blocks, here of 512 bytes.',
    fix: 'Make it 1024 bytes: truncate --size=1024 PATH',
  },
];

describe('refuses', () => {
  it.each(refusals)('$name', async ({ prepare, config, readOnly, code, ...texts }) => {
    using folder = tempFolder();
    prepare?.(folder.file('disk.img'));
    const before = readdirSync(folder.path);
    const filled = Object.fromEntries(
      Object.entries({ message: texts.message, why: texts.why, fix: texts.fix }).map(([key, text]) => [
        key,
        text?.replaceAll('PATH', folder.file('disk.img')).replaceAll('FOLDER', folder.path),
      ]),
    );
    const opening = openDisk(folder.path, config ?? {}, readOnly ? { readOnly } : {});
    await expect(opening).rejects.toMatchObject({ code, ...filled });
    // Nothing is left behind, a half-made file least of all.
    expect(readdirSync(folder.path)).toEqual(before);
  });

  it('a pipe, without waiting for its other end', async () => {
    using folder = tempFolder();
    await promisify(execFile)('mkfifo', [folder.file('disk.img')]);
    await expect(openDisk(folder.path, {})).rejects.toMatchObject({
      code: 'file.unsupported-type',
      message: `${folder.file('disk.img')} is a pipe.`,
    });
    expect(existsSync(folder.file('disk.img'))).toBe(true);
  });
});
