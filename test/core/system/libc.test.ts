import { writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { describe, expect, it } from 'vitest';
import { linux } from '../../../core/system/libc.ts';
import { O_CLOEXEC, O_RDWR } from '../../../core/system/syscalls.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const { EAGAIN, EBADF, ENOENT, ENOTTY } = constants.errno;
const TCGETS = 0x5401;

describe('linux', () => {
  it('opens, writes, reads and closes', () => {
    using folder = tempFolder();
    writeFileSync(folder.file('x'), 'before');
    const fd = linux.open(folder.file('x'), O_RDWR | O_CLOEXEC);
    const buffer = new Uint8Array(16);
    expect(linux.read(fd, buffer.subarray(2, 5))).toBe(3);
    expect(new TextDecoder().decode(buffer.subarray(0, 6))).toBe('\0\0bef\0');
    expect(linux.write(fd, new TextEncoder().encode('ORE'))).toBe(3);
    expect(linux.close(fd)).toBe(0);
  });

  it('returns minus the errno when a call fails', () => {
    expect(linux.open('/nonexistent/file', O_RDWR)).toBe(-ENOENT);
    expect(linux.read(-1, new Uint8Array(1))).toBe(-EBADF);
    expect(linux.close(-1)).toBe(-EBADF);
    const fd = linux.eventfd();
    expect(linux.read(fd, new Uint8Array(8))).toBe(-EAGAIN);
    expect(linux.ioctl(fd, TCGETS, new Uint8Array(64))).toBe(-ENOTTY);
    expect(linux.ioctl(fd, 0xc0208110, undefined)).toBe(-ENOTTY);
    linux.close(fd);
  });
});
