import { closeSync, constants, openSync, truncateSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { alignedBuffer, directAlignment } from '../../../core/system/direct-io.ts';
import { Errno } from '../../../core/system/errno.ts';
import type { FileEngine } from '../../../core/system/file-engine.ts';
import { FileIo } from '../../../core/system/file-io.ts';
import { type FileSyscalls, RWF_NOWAIT } from '../../../core/system/file-syscalls.ts';
import { ThreadPoolEngine } from '../../../core/system/thread-pool-engine.ts';
import { UringEngine } from '../../../core/system/uring-engine.ts';
import { iovLength } from '../../../core/util/iov.ts';
import { firstDifference } from '../../support/bytes.ts';
import { ScriptedEngine, scriptedSyscalls } from '../../support/scripted-file.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const SIZE = 256 * 1024;

const engines: readonly [string, (fd: number) => FileEngine][] = [
  ['io_uring', (fd) => new UringEngine(fd)],
  ['the thread pool', (fd) => new ThreadPoolEngine(fd)],
];
/** Within the call where possible, always through the engine, and past the page cache. */
const modes = ['as usual', 'asynchronous only', 'direct'] as const;
type Mode = (typeof modes)[number];

interface Rig extends AsyncDisposable {
  readonly io: FileIo;
  readonly path: string;
}

function openRig(engineOf: (fd: number) => FileEngine, mode: Mode): Rig {
  const folder = tempFolder();
  const path = folder.file('data');
  writeFileSync(path, new Uint8Array(SIZE));
  const fd = openSync(path, constants.O_RDWR | (mode === 'direct' ? constants.O_DIRECT : 0));
  const direct = mode === 'direct' ? { direct: directAlignment(fd) ?? { memory: 512, offset: 512 } } : {};
  const never = scriptedSyscalls({ preadv: () => -Errno.EAGAIN, pwritev: () => -Errno.EAGAIN });
  const syscalls = mode === 'asynchronous only' ? { syscalls: never } : {};
  const io = new FileIo(fd, { path, engine: engineOf(fd), ...direct, ...syscalls });
  return {
    io,
    path,
    [Symbol.asyncDispose]: async () => {
      await io[Symbol.asyncDispose]();
      closeSync(fd);
      folder[Symbol.dispose]();
    },
  };
}

/** Cuts `bytes` into segments that lie apart from each other in memory, unaligned if `shift` is odd. */
function scatter(bytes: Uint8Array, segment: number, shift: number): Uint8Array[] {
  const iov: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += segment) {
    const part = bytes.subarray(at, at + segment);
    const memory = new Uint8Array(part.length + shift + 1);
    memory.set(part, shift);
    iov.push(memory.subarray(shift, shift + part.length));
  }
  return iov;
}

function gather(iov: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(iov));
}

const request = fc
  .record({
    kind: fc.constantFrom('read', 'write'),
    sector: fc.nat(SIZE / 512 - 1),
    sectors: fc.integer({ min: 1, max: 160 }),
    segment: fc.constantFrom(512, 1024, 4096, 131072),
    shift: fc.nat(3),
    fill: fc.nat(255),
  })
  .map((r) => ({ ...r, offset: r.sector * 512, length: Math.min(r.sectors * 512, SIZE - r.sector * 512) }));

describe.each(engines)('FileIo on %s', (_name, engineOf) => {
  describe.each(modes)('%s', (mode) => {
    it('behaves like an array of bytes', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(request, { maxLength: 30 }), async (requests) => {
          await using rig = openRig(engineOf, mode);
          const model = new Uint8Array(SIZE);
          for (const { kind, offset, length, segment, shift, fill } of requests) {
            if (kind === 'write') {
              const data = Uint8Array.from({ length }, (_, i) => fill + i * 7);
              await rig.io.write(offset, scatter(data, segment, shift));
              model.set(data, offset);
            } else {
              const iov = scatter(new Uint8Array(length).fill(0xee), segment, shift);
              await rig.io.read(offset, iov);
              expect(firstDifference(gather(iov), model.subarray(offset, offset + length))).toBeUndefined();
            }
          }
        }),
        { numRuns: 15 },
      );
    });

    it('keeps concurrent requests apart', async () => {
      await using rig = openRig(engineOf, mode);
      const sectors = Array.from({ length: SIZE / 512 }, (_, i) => i);
      await Promise.all(sectors.map(async (i) => rig.io.write(i * 512, [new Uint8Array(512).fill(i * 31)])));
      await rig.io.flush();
      const blocks = await Promise.all(
        sectors.map(async (i) => {
          const block = new Uint8Array(512).fill(1);
          await rig.io.read(i * 512, [block]);
          return block;
        }),
      );
      const expected = sectors.map((i) => new Uint8Array(512).fill(i * 31));
      expect(firstDifference(gather(blocks), gather(expected))).toBeUndefined();
    });

    it('keeps large concurrent reads apart', async () => {
      await using rig = openRig(engineOf, mode);
      const data = Uint8Array.from({ length: SIZE }, (_, i) => i * 17 + (i >> 8));
      await rig.io.write(0, [data]);
      const copies = await Promise.all(
        Array.from({ length: 20 }, async () => {
          const iov = scatter(new Uint8Array(SIZE), 4096, 0);
          await rig.io.read(0, iov);
          return gather(iov);
        }),
      );
      for (const copy of copies) expect(firstDifference(copy, data)).toBeUndefined();
    });

    it('moves more segments than one system call takes', async () => {
      await using rig = openRig(engineOf, mode);
      const data = Uint8Array.from({ length: SIZE }, (_, i) => i * 13 + (i >> 9));
      // Far more than IOV_MAX, and more entries than a ring slot has.
      const segment = mode === 'direct' ? 512 : 64;
      await rig.io.write(0, scatter(data, segment, 0));
      const iov = scatter(new Uint8Array(SIZE), segment, 1);
      await rig.io.read(0, iov);
      expect(firstDifference(gather(iov), data)).toBeUndefined();
    });

    it('fails a read beyond the end of a file that has become shorter, rather than make up zeros', async () => {
      await using rig = openRig(engineOf, mode);
      truncateSync(rig.path, 8192);
      const target = alignedBuffer(8192, { memory: 4096, offset: 4096 });
      await expect((async () => rig.io.read(4096, [target]))()).rejects.toMatchObject({
        code: 'EIO',
        message: `${rig.path}: ends at byte 8192, before the end of the disk; was it truncated?`,
      });
    });
  });
});

describe('FileIo', () => {
  const PATH = '/disks/a.img';
  const FD = -1;

  it('finishes a read that the page cache served in part', async () => {
    const engine = new ScriptedEngine(100, 156);
    const io = new FileIo(FD, { path: PATH, engine, syscalls: scriptedSyscalls({ preadv: () => 256 }) });
    await io.read(4096, [new Uint8Array(512)]);
    expect(engine.calls).toEqual([
      { call: 'readv', skip: 256, offset: 4352 },
      { call: 'readv', skip: 356, offset: 4452 },
    ]);
  });

  it('reads without asking whether it has to wait, once the page cache has served very many reads', async () => {
    const asked: boolean[] = [];
    let cached = true;
    const preadv: FileSyscalls['preadv'] = (_fd, iov, _skip, _offset, flags) => {
      asked.push(flags === RWF_NOWAIT);
      return cached ? iov.reduce((sum, { length }) => sum + length, 0) : -Errno.EAGAIN;
    };
    const engine = new ScriptedEngine(...Array(100).fill(512));
    const io = new FileIo(FD, { path: PATH, engine, syscalls: scriptedSyscalls({ preadv }) });
    const read = async (count: number, ...lengths: number[]): Promise<number> => {
      asked.length = 0;
      const iov = lengths.map((length) => new Uint8Array(length));
      for (let i = 0; i < count; i++) await io.read(0, iov);
      return asked.filter((flag) => flag).length;
    };
    expect(await read(16_384, 512)).toBe(16_384);
    expect(await read(1600, 512)).toBe(100);
    // Where nothing would be saved, or a disk would be waited for long.
    expect(await read(16, 256, 256)).toBe(16);
    expect(await read(16, 65536)).toBe(16);
    cached = false;
    await read(16, 512);
    // A single answer ends it.
    expect(asked.slice(asked.indexOf(true))).not.toContain(false);
    cached = true;
    expect(await read(1000, 512)).toBe(1000);
  });

  it('does a buffered write within the call', () => {
    const io = new FileIo(FD, {
      path: PATH,
      engine: new ScriptedEngine(),
      syscalls: scriptedSyscalls({ pwritev: () => 512 }),
    });
    expect(io.write(0, [new Uint8Array(512)])).toBeUndefined();
  });

  it('leaves a large transfer to the engine, so that the thread stays free', async () => {
    const length = 5 * 2 ** 20;
    const engine = new ScriptedEngine(length);
    const io = new FileIo(FD, {
      path: PATH,
      engine,
      syscalls: scriptedSyscalls({ pwritev: () => expect.fail('a blocking write') }),
    });
    await io.write(0, [new Uint8Array(length)]);
    expect(engine.calls).toEqual([{ call: 'writev', skip: 0, offset: 0 }]);
  });

  it.runIf(availableParallelism() > 1)(
    'has other processors copy all large reads of a turn but the first',
    async () => {
      const length = 2 ** 18;
      const engine = new ScriptedEngine(length, length);
      const syscalls = scriptedSyscalls({ preadv: () => length });
      const io = new FileIo(FD, { path: PATH, engine, syscalls });
      const iov = [new Uint8Array(length)];
      const first = io.read(0, iov);
      const others = [io.read(length, iov), io.read(2 * length, iov)];
      expect(first).toBeUndefined();
      expect(engine.calls).toEqual([
        { call: 'readv', skip: 0, offset: length, beside: true },
        { call: 'readv', skip: 0, offset: 2 * length, beside: true },
      ]);
      await Promise.all(others);
      // One at a time, there is nothing to share.
      expect(io.read(0, iov)).toBeUndefined();
    },
  );

  it.runIf(availableParallelism() > 1)(
    'shares the copying of a very large read with another processor',
    async () => {
      const length = 2 ** 20;
      const half = length / 2;
      const engine = new ScriptedEngine(half);
      const preads: [bytes: number, offset: number][] = [];
      const preadv: FileSyscalls['preadv'] = (_fd, iov, _skip, offset) => {
        if (iovLength(iov) >= half) preads.push([iovLength(iov), offset]);
        return iovLength(iov);
      };
      const io = new FileIo(FD, { path: PATH, engine, syscalls: { ...scriptedSyscalls({}), preadv } });
      const iov = Array.from({ length: 4 }, () => new Uint8Array(length / 4));
      await io.read(4096, iov);
      expect(preads).toEqual([[half, 4096]]);
      expect(engine.calls).toEqual([{ call: 'readv', skip: half, offset: 4096 + half, beside: true }]);
    },
  );

  it.runIf(availableParallelism() > 1)(
    'shares it only where the page cache has it, and reads the rest all the same',
    async () => {
      const length = 2 ** 20;
      const half = length / 2;
      const engine = new ScriptedEngine(half, half - 512);
      const preadv: FileSyscalls['preadv'] = (_fd, iov) => (iovLength(iov) === 1 ? 1 : 512);
      const io = new FileIo(FD, { path: PATH, engine, syscalls: { ...scriptedSyscalls({}), preadv } });
      await io.read(0, [new Uint8Array(length)]);
      expect(engine.calls.map(({ skip, offset }) => [skip, offset])).toEqual([
        [half, half],
        [512, 512],
      ]);
      const failing = new FileIo(FD, {
        path: PATH,
        engine: new ScriptedEngine(-Errno.EIO),
        syscalls: { ...scriptedSyscalls({}), preadv: (_fd, part) => iovLength(part) },
      });
      await expect(failing.read(0, [new Uint8Array(length)])).rejects.toMatchObject({ code: 'EIO' });
    },
  );

  it('repeats what was interrupted, but not forever', async () => {
    const engine = new ScriptedEngine(-Errno.EINTR, -Errno.EAGAIN, 512, ...Array(17).fill(-Errno.EAGAIN));
    const io = new FileIo(FD, { path: PATH, engine, syscalls: scriptedSyscalls({}) });
    await io.read(0, [new Uint8Array(512)]);
    await expect(io.read(0, [new Uint8Array(512)])).rejects.toMatchObject({ code: 'EIO', retriable: true });
  });

  it.each([
    ['ENOSPC', 'ENOSPC'],
    ['EDQUOT', 'ENOSPC'],
    ['EROFS', 'EROFS'],
    ['ENOMEM', 'ENOMEM'],
    ['EIO', 'EIO'],
    ['EFAULT', 'EIO'],
  ] as const)('reports %s as %s, with the cause', async (name, code) => {
    const engine = new ScriptedEngine(-Errno[name]);
    const io = new FileIo(FD, { path: PATH, engine, syscalls: scriptedSyscalls({}) });
    await expect(io.write(8192, [new Uint8Array(512)])).rejects.toMatchObject({
      code,
      message: expect.stringContaining(`${PATH}: write of 512 bytes at 8192 failed: writev: ${name}, `),
      cause: { code: name },
    });
  });

  it('fails every flush after one that failed, even if the kernel would report success', async () => {
    const engine = new ScriptedEngine(0, -Errno.EIO, 0);
    const io = new FileIo(FD, { path: PATH, engine, syscalls: scriptedSyscalls({}) });
    await io.flush();
    const consequence = `; writes since the last successful flush of ${PATH} may be lost, so every later one fails too`;
    await expect(io.flush()).rejects.toMatchObject({
      code: 'EIO',
      message: `${PATH}: flush failed: fdatasync: EIO, i/o error${consequence}`,
    });
    await expect(io.flush()).rejects.toMatchObject({
      code: 'EIO',
      message: `an earlier flush failed${consequence}`,
    });
    expect(engine.calls).toHaveLength(2);
  });

  it('fails flushes in every thread after one of them failed', async () => {
    const flushState = new SharedArrayBuffer(FileIo.FLUSH_STATE_BYTES);
    const open = (...results: number[]) =>
      new FileIo(FD, {
        path: PATH,
        engine: new ScriptedEngine(...results),
        syscalls: scriptedSyscalls({}),
        flushState,
      });
    const [first, second] = [open(-Errno.EIO), open(0, 0)];
    const [failing, beside] = [first.flush(), second.flush()];
    beside.catch(() => undefined);
    await expect(failing).rejects.toMatchObject({ code: 'EIO' });
    await expect(beside).rejects.toMatchObject({ code: 'EIO' });
    await expect(second.flush()).rejects.toMatchObject({ code: 'EIO' });
  });

  it('uses the thread pool when told to, and says why', async () => {
    using folder = tempFolder();
    writeFileSync(folder.file('data'), 'x');
    const fd = openSync(folder.file('data'), 'r');
    process.env['BLOCKGATE_NO_IO_URING'] = '1';
    await using io = new FileIo(fd, { path: folder.file('data') });
    delete process.env['BLOCKGATE_NO_IO_URING'];
    expect([io.engineName, io.engineReason]).toEqual(['thread pool', 'BLOCKGATE_NO_IO_URING is set']);
    closeSync(fd);
  });
});
