import { describe, expect, it } from 'vitest';
import { openFailed } from '../../../backends/file/errors.ts';

const PATH = '/disks/a.img';

function failure(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: as Node words it`), { code });
}

/** Those that a test cannot bring about on every machine. */
const table = [
  {
    errno: 'EACCES',
    code: 'file.no-permission',
    message: '/disks/a.img cannot be opened for writing.',
    why: `The user of the gateway (uid ${process.getuid?.()}) may not do that.`,
    fix: 'Change its owner or permissions, or make the disk read-only with "readOnly": true.',
  },
  {
    errno: 'EROFS',
    code: 'file.no-permission',
    message: '/disks/a.img cannot be opened for writing.',
    why: 'It is on a read-only file system or device.',
    fix: 'Change its owner or permissions, or make the disk read-only with "readOnly": true.',
  },
  {
    errno: 'EBUSY',
    code: 'file.device-busy',
    message: 'The block device /disks/a.img is in use.',
    why: 'It is mounted, or part of something else: a RAID, a volume group, swap.',
    fix: 'See what uses it with "lsblk /disks/a.img", and release it first.',
  },
  {
    errno: 'EFBIG',
    code: 'file.too-big',
    message: '/disks/a.img cannot be that big.',
    why: 'The size is above what its file system, or the limit on file sizes (ulimit -f), allows.',
    fix: 'Choose a smaller "size", or a file system for large files such as xfs.',
  },
  {
    errno: 'ENOSPC',
    code: 'file.no-space',
    message: '/disks/a.img cannot be created: its file system is full.',
    why: undefined,
    fix: 'Free some space or quota.',
  },
  {
    errno: 'EIO',
    code: 'file.open-failed',
    message: '/disks/a.img cannot be opened.',
    why: 'EIO: as Node words it',
    fix: undefined,
  },
];

describe('openFailed', () => {
  it.each(table)('puts $errno into words', ({ errno, ...expected }) => {
    const cause = failure(errno);
    expect(openFailed(PATH, cause, false)).toMatchObject({ ...expected, cause });
  });

  it('does not advise a read-only disk to become read-only', () => {
    expect(openFailed(PATH, failure('EACCES'), true)).toMatchObject({
      message: '/disks/a.img cannot be opened for reading.',
      fix: 'Change its owner or permissions.',
    });
  });
});
