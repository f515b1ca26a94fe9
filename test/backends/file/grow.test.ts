import { statSync, truncateSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fileConfig } from '../../../backends/file/config.ts';
import file from '../../../backends/file/index.ts';
import type { OpenContext } from '../../../core/api/backend.ts';
import { openContext } from '../../support/plugin-context.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const MIB = 2 ** 20;

function openDisk(folder: string, context: Partial<OpenContext> = {}) {
  return file.open(fileConfig.parse({ path: 'disk.img', size: MIB }), openContext(folder, context));
}

describe('a file that grows while it is a disk', () => {
  it('takes the new size, in which everything is zero', async () => {
    using folder = tempFolder();
    await using device = await openDisk(folder.path);
    await device.write!(MIB - 512, [new Uint8Array(512).fill(7)], 0);
    await device.resize!(2 * MIB);
    expect([device.info.size, statSync(folder.file('disk.img')).size]).toEqual([2 * MIB, 2 * MIB]);
    const end = new Uint8Array(1024);
    await device.read(MIB - 512, [end], 0);
    expect(end).toEqual(new Uint8Array(1024).fill(7, 0, 512));
    await device.write!(2 * MIB - 512, [end.subarray(0, 512)], 0);
  });

  it('sees how large somebody else has made it, in whole blocks', async () => {
    using folder = tempFolder();
    await using device = await openDisk(folder.path);
    truncateSync(folder.file('disk.img'), 2 * MIB + 100);
    await device.resize!();
    expect(device.info.size).toBe(2 * MIB);
  });

  it.each([
    [MIB - 512, 'volume.cannot-shrink'],
    [2 * MIB + 1, 'file.size-unaligned'],
  ])('does not become %d bytes large', async (size, code) => {
    using folder = tempFolder();
    await using device = await openDisk(folder.path);
    await expect(device.resize!(size)).rejects.toMatchObject({ code });
    expect([device.info.size, statSync(folder.file('disk.img')).size]).toEqual([MIB, MIB]);
  });

  it('does not follow a file that somebody has cut off', async () => {
    using folder = tempFolder();
    await using device = await openDisk(folder.path);
    truncateSync(folder.file('disk.img'), MIB / 2);
    await expect(device.resize!()).rejects.toMatchObject({ code: 'volume.cannot-shrink' });
    expect(device.info.size).toBe(MIB);
  });

  it('is not grown by a read-only disk', async () => {
    using folder = tempFolder();
    await (await openDisk(folder.path))[Symbol.asyncDispose]();
    await using device = await openDisk(folder.path, { readOnly: true });
    await expect(device.resize!(2 * MIB)).rejects.toMatchObject({ code: 'volume.unsupported' });
  });
});
