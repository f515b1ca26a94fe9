import { closeSync, fstatSync, ftruncateSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { memfd, raiseMemoryLock } from '../../../core/system/memory-lock.ts';

describe('a file in memory', () => {
  it('has the size that was asked for, for good', () => {
    const fd = memfd(3 * 4096);
    try {
      expect(fstatSync(fd).size).toBe(3 * 4096);
      expect(() => ftruncateSync(fd, 4096)).toThrow('EPERM');
      expect(() => ftruncateSync(fd, 4 * 4096)).toThrow('EPERM');
    } finally {
      closeSync(fd);
    }
  });

  it('cannot have a size that there is not', () => {
    expect(memfd(-1)).toBeLessThan(0);
  });
});

describe('the limit of memory to pin', () => {
  it('is as much as was asked for, or what it is', () => {
    const limit = raiseMemoryLock(0);
    expect(limit).toBeGreaterThan(0);
    expect(raiseMemoryLock(4096)).toBe(limit);
    // What nobody can have: refused to everybody but root, who gets it.
    expect([limit, Math.max(limit, 2 ** 40)]).toContain(raiseMemoryLock(2 ** 40));
  });
});
