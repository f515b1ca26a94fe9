import { closeSync, openSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { findLockHolders, tryLockFile } from '../../../core/system/file-lock.ts';
import { tempFolder } from '../../support/temp-folder.ts';

function openTwice(folder: { file(name: string): string }): [number, number] {
  writeFileSync(folder.file('data'), '');
  return [openSync(folder.file('data'), 'r+'), openSync(folder.file('data'), 'r+')];
}

describe('tryLockFile', () => {
  it.each([
    ['exclusive', 'exclusive', false],
    ['exclusive', 'shared', false],
    ['shared', 'exclusive', false],
    ['shared', 'shared', true],
  ] as const)('with a lock that is %s, another that is %s: %s', (first, second, granted) => {
    using folder = tempFolder();
    const [a, b] = openTwice(folder);
    expect(tryLockFile(a, first)).toBe(true);
    expect(tryLockFile(b, second)).toBe(granted);
    closeSync(a);
    expect(tryLockFile(b, second)).toBe(true);
    closeSync(b);
  });

  it('keeps the lock when somebody else closes the file', () => {
    using folder = tempFolder();
    const [a, b] = openTwice(folder);
    tryLockFile(a, 'exclusive');
    closeSync(b);
    const c = openSync(folder.file('data'), 'r+');
    expect(tryLockFile(c, 'exclusive')).toBe(false);
    closeSync(a);
    closeSync(c);
  });
});

describe('findLockHolders', () => {
  it('names the process that has the lock, and nobody when it is free', async () => {
    using folder = tempFolder();
    const [a, b] = openTwice(folder);
    expect(await findLockHolders(folder.file('data'))).toEqual([]);
    tryLockFile(a, 'shared');
    expect(await findLockHolders(folder.file('data'))).toEqual([
      { pid: process.pid, command: expect.stringContaining('node') },
    ]);
    closeSync(a);
    closeSync(b);
  });
});
