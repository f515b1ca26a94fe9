import { describe, expect, it } from 'vitest';
import { type CpioEntry, writeCpio } from '../../../core/vm/cpio.ts';

interface Parsed {
  readonly name: string;
  readonly mode: number;
  readonly content: string;
  readonly rdev: readonly [number, number];
}

/** An independent reading of the format, field by field as buffer-format.rst lists them. */
function parse(archive: Buffer): Parsed[] {
  const entries: Parsed[] = [];
  let position = 0;
  while (position < archive.length) {
    expect(archive.toString('latin1', position, position + 6)).toBe('070701');
    const field = (index: number): number => {
      const start = position + 6 + index * 8;
      return Number.parseInt(archive.toString('latin1', start, start + 8), 16);
    };
    const nameStart = position + 110;
    const name = archive.toString('utf8', nameStart, nameStart + field(11) - 1);
    expect(archive[nameStart + field(11) - 1]).toBe(0);
    const contentStart = Math.ceil((nameStart + field(11)) / 4) * 4;
    const content = archive.toString('utf8', contentStart, contentStart + field(6));
    entries.push({ name, mode: field(1), content, rdev: [field(9), field(10)] });
    position = Math.ceil((contentStart + field(6)) / 4) * 4;
  }
  return entries;
}

describe('writeCpio', () => {
  it('writes folders, files and character devices with their modes, and the trailer last', () => {
    const archive = writeCpio([
      { path: 'dev', kind: 'folder' },
      { path: 'dev/console', kind: 'char-device', major: 5, minor: 1 },
      { path: 'init', kind: 'file', content: Buffer.from('#!/bin/sh\n'), mode: 0o755 },
    ]);
    expect(parse(archive)).toEqual([
      { name: 'dev', mode: 0o040755, content: '', rdev: [0, 0] },
      { name: 'dev/console', mode: 0o020600, content: '', rdev: [5, 1] },
      { name: 'init', mode: 0o100755, content: '#!/bin/sh\n', rdev: [0, 0] },
      { name: 'TRAILER!!!', mode: 0, content: '', rdev: [0, 0] },
    ]);
  });

  it('pads names and contents of every length to four bytes', () => {
    const entries: CpioEntry[] = [1, 2, 3, 4, 5].map((length) => ({
      path: 'n'.repeat(length),
      kind: 'file',
      content: Buffer.from('c'.repeat(length)),
    }));
    const archive = writeCpio(entries);
    expect(archive.length % 4).toBe(0);
    expect(parse(archive).map(({ name, content }) => [name.length, content.length])).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
      [4, 4],
      [5, 5],
      ['TRAILER!!!'.length, 0],
    ]);
  });

  it('gives the same bytes for the same entries', () => {
    const entries: CpioEntry[] = [{ path: 'a', kind: 'file', content: Buffer.from('x') }];
    expect(writeCpio(entries)).toEqual(writeCpio(entries));
  });
});
