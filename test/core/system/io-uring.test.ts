import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Errno } from '../../../core/system/errno.ts';
import { IORING_OP_READV, IoUring } from '../../../core/system/io-uring.ts';
import { IovecArray } from '../../../core/system/iovec.ts';
import { UringEngine } from '../../../core/system/uring-engine.ts';
import { tempFolder } from '../../support/temp-folder.ts';

function openFile(folder: { file(name: string): string }, content: Uint8Array): number {
  writeFileSync(folder.file('data'), content);
  return openSync(folder.file('data'), 'r+');
}

function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

function ringMappings(): number {
  return readFileSync('/proc/self/maps', 'utf8').split('anon_inode:[io_uring]').length - 1;
}

describe('IoUring', () => {
  it('reports a completion with the result and the number it was given', async () => {
    using folder = tempFolder();
    const fd = openFile(folder, new Uint8Array([1, 2, 3]));
    const { promise, resolve } = Promise.withResolvers<[number, number]>();
    using ring = new IoUring(4, (userData, result) => resolve([userData, result]));
    const target = new Uint8Array(8);
    const iovec = new IovecArray(new Uint8Array(16));
    const length = iovec.fill([target], 0);
    ring.prepare({
      opcode: IORING_OP_READV,
      sqeFlags: 0,
      fd,
      offset: 1,
      address: iovec.address,
      length,
      flags: 0,
      userData: 77,
    });
    ring.submit();
    expect(await promise).toEqual([77, 2]);
    expect([...target]).toEqual([2, 3, 0, 0, 0, 0, 0, 0]);
    closeSync(fd);
  });

  it('reports an error as a negated errno', async () => {
    const { promise, resolve } = Promise.withResolvers<number>();
    using ring = new IoUring(4, (_, result) => resolve(result));
    ring.prepare({
      opcode: IORING_OP_READV,
      sqeFlags: 0,
      fd: 1 << 20,
      offset: 0,
      address: 0,
      length: 0,
      flags: 0,
      userData: 0,
    });
    ring.submit();
    expect(await promise).toBe(-Errno.EBADF);
  });

  it('goes on when its positions wrap around', async () => {
    using folder = tempFolder();
    const fd = openFile(folder, new Uint8Array(4096).fill(5));
    await using engine = new UringEngine(fd);
    const target = new Uint8Array(16);
    for (let i = 0; i < 1000; i++) expect(await engine.readv([target], 0, i, false)).toBe(16);
    expect(target).toEqual(new Uint8Array(16).fill(5));
    closeSync(fd);
  });

  it('gives back its descriptor and its memory', () => {
    const before = [descriptors(), ringMappings()];
    for (let i = 0; i < 10; i++) new IoUring(16, () => {})[Symbol.dispose]();
    expect([descriptors(), ringMappings()]).toEqual(before);
  });
});

describe('UringEngine', () => {
  it('completes more requests at once than the ring has room for', async () => {
    using folder = tempFolder();
    const content = Uint8Array.from({ length: 1000 }, (_, i) => i % 251);
    const fd = openFile(folder, content);
    await using engine = new UringEngine(fd);
    const bytes = Array.from({ length: 1000 }, () => new Uint8Array(1));
    await Promise.all(bytes.map((byte, i) => engine.readv([byte], 0, i, i % 2 === 0)));
    expect(bytes.map(([byte]) => byte)).toEqual([...content]);
    closeSync(fd);
  });

  it('waits on disposal for what is in flight', async () => {
    using folder = tempFolder();
    const fd = openFile(folder, new Uint8Array(4096).fill(9));
    const engine = new UringEngine(fd);
    const settled: string[] = [];
    const target = new Uint8Array(4096);
    const read = engine.readv([target], 0, 0, false).then(() => settled.push('read'));
    const disposal = engine[Symbol.asyncDispose]().then(() => settled.push('disposed'));
    await Promise.all([read, disposal]);
    expect(settled).toEqual(['read', 'disposed']);
    expect(target[4095]).toBe(9);
    closeSync(fd);
  });
});
