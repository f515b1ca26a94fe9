import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fileConfig } from '../../backends/file/config.ts';
import file from '../../backends/file/index.ts';
import { IoFlag } from '../../core/api/device.ts';
import { firstDifference } from '../support/bytes.ts';
import { openContext } from '../support/plugin-context.ts';
import { tempFolder } from '../support/temp-folder.ts';

const MIB = 2 ** 20;
const SIZE = 64 * MIB;

/** A loop device over a sparse file. Needs root and the loop driver. */
function loopDevice(...options: string[]) {
  const folder = tempFolder();
  const image = folder.file('image');
  writeFileSync(image, '');
  truncateSync(image, SIZE);
  const path = run('losetup', '--find', '--show', ...options, image).trim();
  return {
    path,
    folder: folder.path,
    /** Bytes of the image that are allocated. */
    used: () => statSync(image).blocks * 512,
    [Symbol.dispose]: () => {
      run('losetup', '--detach', path);
      folder[Symbol.dispose]();
    },
  };
}

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8' });
}

function open(loop: { path: string; folder: string }, config: object = {}, readOnly = false) {
  return file.open(fileConfig.parse({ path: loop.path, ...config }), openContext(loop.folder, { readOnly }));
}

/** Loop devices take root and a kernel that has them; a container may have neither. */
const HAS_LOOP_DEVICES = process.getuid?.() === 0 && existsSync('/dev/loop-control');

describe.runIf(HAS_LOOP_DEVICES)('the file backend on a block device', () => {
  it.each([false, true])('reads back what it wrote, direct: %s', async (direct) => {
    using loop = loopDevice();
    const data = Uint8Array.from({ length: MIB }, (_, i) => i * 7 + (i >> 8));
    {
      await using device = await open(loop, { direct });
      expect(device.info.size).toBe(SIZE);
      await device.write?.(SIZE - MIB, [data.subarray(0, 512), data.subarray(512)], 0);
      await device.flush?.(0);
    }
    await using device = await open(loop, { direct: !direct });
    const back = new Uint8Array(MIB);
    await device.read(SIZE - MIB, [back], 0);
    expect(firstDifference(back, data)).toBeUndefined();
  });

  it('frees space on discard, and zeroes', async () => {
    using loop = loopDevice();
    await using device = await open(loop, { direct: true });
    await device.write?.(0, [new Uint8Array(4 * MIB).fill(1)], 0);
    await device.flush?.(0);
    expect(loop.used()).toBe(4 * MIB);
    await device.discard?.(0, 2 * MIB, 0);
    expect(loop.used()).toBe(2 * MIB);
    await device.writeZeroes?.(2 * MIB, MIB, IoFlag.MAY_UNMAP);
    await device.writeZeroes?.(3 * MIB, MIB, 0);
    const back = new Uint8Array(4 * MIB);
    await device.read(0, [back], 0);
    expect(firstDifference(back, new Uint8Array(4 * MIB))).toBeUndefined();
  });

  it('takes its block size from the device', async () => {
    using loop = loopDevice('--sector-size', '4096');
    await using device = await open(loop);
    expect(device.info.limits).toMatchObject({ blockSize: 4096, physicalBlockSize: 4096 });
  });

  it('refuses one that is mounted', async () => {
    using loop = loopDevice();
    run('mkfs.ext4', '-q', loop.path);
    const mountPoint = `${loop.folder}/mnt`;
    mkdirSync(mountPoint);
    run('mount', loop.path, mountPoint);
    try {
      await expect(open(loop)).rejects.toMatchObject({
        code: 'file.device-busy',
        message: `The block device ${loop.path} is in use.`,
        fix: `See what uses it with "lsblk ${loop.path}", and release it first.`,
      });
    } finally {
      run('umount', mountPoint);
    }
  });

  it('refuses to write to one that is read-only, and reads it', async () => {
    using loop = loopDevice('--read-only');
    await expect(open(loop)).rejects.toMatchObject({ code: 'file.no-permission' });
    await using device = await open(loop, {}, true);
    const block = new Uint8Array(512).fill(1);
    await device.read(0, [block], 0);
    expect(block).toEqual(new Uint8Array(512));
  });

  it('refuses a second user, and a size that is not its own', async () => {
    using loop = loopDevice();
    await expect(open(loop, { size: '1GiB' })).rejects.toMatchObject({ code: 'file.size-mismatch' });
    await using _device = await open(loop);
    await expect(open(loop)).rejects.toMatchObject({ code: 'file.device-busy' });
  });

  it('is described, but neither resized nor deleted', async () => {
    using loop = loopDevice();
    const config = fileConfig.parse({ path: loop.path });
    const ctx = openContext(loop.folder);
    expect(await file.volumes?.info(config, ctx)).toEqual({
      name: loop.path,
      size: SIZE,
      details: { kind: 'block device' },
    });
    const refusal = { code: 'volume.unsupported', message: `${loop.path} is a block device.` };
    await expect(file.volumes?.resize(config, 2 * SIZE, ctx)).rejects.toMatchObject(refusal);
    const options = { force: true, progress: () => {} };
    await expect(file.volumes?.delete(config, options, ctx)).rejects.toMatchObject(refusal);
  });
});
