import { closeSync, fstatSync, openSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { IoFlag } from '../../../core/api/device.ts';
import { Errno } from '../../../core/system/errno.ts';
import { FileIo } from '../../../core/system/file-io.ts';
import { FileSpace, type FileSpaceOptions } from '../../../core/system/file-space.ts';
import { type FileSyscalls, fileSyscalls } from '../../../core/system/file-syscalls.ts';
import { firstDifference } from '../../support/bytes.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const MIB = 2 ** 20;
const SIZE = 4 * MIB;

interface Rig extends AsyncDisposable {
  readonly fd: number;
  readonly space: FileSpace;
  /** Bytes the file occupies. */
  used(): number;
  content(offset: number, length: number): Promise<Uint8Array>;
}

/** A file of ones. */
function openRig(options: { syscalls?: FileSyscalls } & Partial<FileSpaceOptions> = {}): Rig {
  const folder = tempFolder();
  const path = folder.file('data');
  writeFileSync(path, new Uint8Array(SIZE).fill(1));
  const fd = openSync(path, 'r+');
  const io = new FileIo(fd, { path });
  return {
    fd,
    space: new FileSpace(fd, { path, io, size: SIZE, kind: 'file', ...options }),
    used: () => fstatSync(fd).blocks * 512,
    content: async (offset, length) => {
      const bytes = new Uint8Array(length);
      await io.read(offset, [bytes]);
      return bytes;
    },
    [Symbol.asyncDispose]: async () => {
      await io[Symbol.asyncDispose]();
      closeSync(fd);
      folder[Symbol.dispose]();
    },
  };
}

const refusing = (...modes: number[]): FileSyscalls => ({
  ...fileSyscalls,
  fallocate: (fd, mode, offset, length) =>
    modes.includes(mode)
      ? Promise.resolve(-Errno.EOPNOTSUPP)
      : fileSyscalls.fallocate(fd, mode, offset, length),
});
const PUNCH_HOLE = 3;
const ZERO_RANGE = 17;

describe('FileSpace', () => {
  it('finds out whether the file system punches holes, without touching the file', async () => {
    await using rig = openRig();
    const before = rig.used();
    expect(await FileSpace.canPunchHoles(rig.fd, SIZE)).toBe(true);
    expect(rig.used()).toBe(before);
    expect(await FileSpace.canPunchHoles(rig.fd, SIZE, refusing(PUNCH_HOLE))).toBe(false);
  });

  it('frees space on discard', async () => {
    await using rig = openRig();
    const before = rig.used();
    await rig.space.discard(MIB, MIB);
    expect(before - rig.used()).toBe(MIB);
  });

  it('zeroes and frees space where it may', async () => {
    await using rig = openRig();
    const before = rig.used();
    await rig.space.writeZeroes(MIB, MIB, IoFlag.MAY_UNMAP);
    expect(before - rig.used()).toBe(MIB);
    expect(firstDifference(await rig.content(MIB, MIB), new Uint8Array(MIB))).toBeUndefined();
  });

  it.each([
    ['without freeing space where it may not', fileSyscalls, MIB],
    ['by writing where the file system cannot zero a range', refusing(ZERO_RANGE), MIB],
    ['by writing where it can neither zero nor punch', refusing(ZERO_RANGE, PUNCH_HOLE), 2 * MIB + 512],
  ])('zeroes %s', async (_name, syscalls, length) => {
    await using rig = openRig({ syscalls });
    const before = rig.used();
    await rig.space.writeZeroes(512, length, 0);
    expect(rig.used()).toBe(before);
    const expected = new Uint8Array(length + 1024).fill(1, 0, 512).fill(1, length + 512);
    expect(firstDifference(await rig.content(0, length + 1024), expected)).toBeUndefined();
  });

  it('does not write zeros out when asked not to', async () => {
    await using rig = openRig({ syscalls: refusing(ZERO_RANGE, PUNCH_HOLE) });
    const flags = IoFlag.NO_FALLBACK | IoFlag.MAY_UNMAP;
    await expect(rig.space.writeZeroes(0, MIB, flags)).rejects.toMatchObject({ code: 'ENOTSUP' });
    expect(await rig.content(0, 512)).toEqual(new Uint8Array(512).fill(1));
  });

  it('asks the file system only once for what it does not have', async () => {
    const modes: number[] = [];
    const syscalls: FileSyscalls = {
      ...fileSyscalls,
      fallocate: async (_fd, mode) => {
        modes.push(mode);
        return -Errno.EOPNOTSUPP;
      },
    };
    await using rig = openRig({ syscalls });
    await rig.space.writeZeroes(0, 512, 0);
    await rig.space.writeZeroes(0, 512, 0);
    expect(modes).toEqual([ZERO_RANGE]);
  });

  it('reports errors of the file system with the range', async () => {
    const syscalls = { ...fileSyscalls, fallocate: async () => -Errno.EIO };
    await using rig = openRig({ syscalls });
    await expect(rig.space.discard(4096, 512)).rejects.toMatchObject({
      code: 'EIO',
      message: expect.stringMatching(/discard of 512 bytes at 4096 failed: fallocate: EIO/),
    });
    await expect(rig.space.writeZeroes(4096, 512, 0)).rejects.toMatchObject({ code: 'EIO' });
  });

  it('tells holes from data', async () => {
    await using rig = openRig();
    await rig.space.discard(MIB, MIB);
    expect(rig.space.extents(512 * 1024, 2 * MIB)).toEqual([
      { offset: 512 * 1024, length: 512 * 1024, kind: 'data' },
      { offset: MIB, length: MIB, kind: 'hole' },
      { offset: 2 * MIB, length: 512 * 1024, kind: 'data' },
    ]);
    expect(rig.space.extents(MIB, 4096)).toEqual([{ offset: MIB, length: 4096, kind: 'hole' }]);
  });

  it('answers with a bounded number of extents, the rest as data', async () => {
    // Every other block is a hole, for far more blocks than an answer has room for.
    const lseek: FileSyscalls['lseek'] = (_fd, offset, whence) => {
      const block = Math.floor(offset / 4096);
      const isData = block % 2 === 1;
      return isData === (whence === 3) ? offset : (block + 1) * 4096;
    };
    await using rig = openRig({ syscalls: { ...fileSyscalls, lseek } });
    const extents = rig.space.extents(0, 4096 * 100_000);
    expect(extents.length).toBeLessThanOrEqual(1025);
    let end = 0;
    for (const { offset, length } of extents) {
      expect(offset).toBe(end);
      end += length;
    }
    expect(end).toBe(4096 * 100_000);
    expect(extents.at(-1)?.kind).toBe('data');
  });
});
