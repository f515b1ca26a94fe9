import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../../core/api/device.ts';
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_READ,
  NBD_EIO,
  NBD_ESHUTDOWN,
  NBD_OPT_GO,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_REP_ACK,
  NBD_REP_INFO,
  NBD_REPLY_TYPE_BLOCK_STATUS,
  NBD_REPLY_TYPE_ERROR,
  NBD_REPLY_TYPE_NONE,
  NBD_REPLY_TYPE_OFFSET_DATA,
  NBD_REPLY_TYPE_OFFSET_HOLE,
} from '../../../core/nbd/protocol.ts';
import { openScriptedDisk } from '../../support/scripted-nbd-disk.ts';
import {
  CONTEXT,
  chunk,
  join,
  type NbdScript,
  optionReply,
  type ScriptedRequest,
  simpleReply,
  u16,
  u32,
  u64,
} from '../../support/scripted-nbd-server.ts';

/** Servers that do not keep to the protocol: whoever uses the disk must get right answers or none. */

const SIZE = 2 ** 20;
const LENGTH = 4096;
const CONTENT = Buffer.from(Array.from({ length: LENGTH }, (_, at) => at % 251));

let owned: AsyncDisposableStack;

beforeEach(() => {
  owned = new AsyncDisposableStack();
});

afterEach(() => owned.disposeAsync());

const open = (script: Partial<NbdScript>) =>
  openScriptedDisk(owned, { size: SIZE, structured: true, answer: right, ...script });

const data = ({ cookie, offset }: ScriptedRequest, bytes: Buffer, at = 0, flags = 1) =>
  chunk(cookie, NBD_REPLY_TYPE_OFFSET_DATA, join(u64(BigInt(offset + at)), bytes), flags);
const hole = ({ cookie, offset }: ScriptedRequest, at: number, length: number, flags = 1) =>
  chunk(cookie, NBD_REPLY_TYPE_OFFSET_HOLE, join(u64(BigInt(offset + at)), u32(length)), flags);
const status = ({ cookie }: ScriptedRequest, ...entries: number[]) =>
  chunk(cookie, NBD_REPLY_TYPE_BLOCK_STATUS, join(u32(CONTEXT), ...entries.map(u32)));

function right(request: ScriptedRequest): Buffer {
  if (request.command === NBD_CMD_READ) return data(request, CONTENT);
  if (request.command === NBD_CMD_BLOCK_STATUS) return status(request, SIZE, 3);
  return chunk(request.cookie, NBD_REPLY_TYPE_NONE, Buffer.alloc(0));
}

async function read(device: BlockDevice, offset = 0): Promise<Buffer> {
  const into = Buffer.alloc(LENGTH, 0xa5);
  await device.read(offset, [into.subarray(0, 1000), into.subarray(1000)], 0);
  return into;
}

it('a server that does not keep several connections consistent gets one, and the log says so', async () => {
  const script = { size: SIZE, structured: true, answer: right };
  const { device, ctx } = await openScriptedDisk(owned, script, { connections: 4 });
  expect(device.status!()).toMatchObject({ connections: 1 });
  expect(ctx.logger.lines).toContainEqual(
    expect.objectContaining({ level: 'warn', message: expect.stringContaining('one connection is used') }),
  );
});

describe('a read that is answered by', () => {
  const half = LENGTH / 2;
  it.each<[string, (request: ScriptedRequest) => Buffer, boolean?]>([
    ['noise', () => Buffer.alloc(64, 0x5a)],
    [
      'the reply to another request',
      ({ cookie }) =>
        chunk(Buffer.from(cookie.map((byte) => byte ^ 1)), NBD_REPLY_TYPE_NONE, Buffer.alloc(0)),
    ],
    ['a simple reply, where chunks were agreed on', ({ cookie }) => simpleReply(cookie, 0, CONTENT)],
    ['chunks, where simple replies were agreed on', (request) => data(request, CONTENT), false],
    ['too little', (request) => data(request, CONTENT.subarray(0, half))],
    ['nothing', ({ cookie }) => chunk(cookie, NBD_REPLY_TYPE_NONE, Buffer.alloc(0))],
    ['too much', (request) => data(request, join(CONTENT, CONTENT))],
    ['data from somewhere else', (request) => data(request, CONTENT, -LENGTH)],
    ['data that begins after its end', (request) => data(request, CONTENT, LENGTH)],
    [
      'one half twice',
      (request) =>
        join(data(request, CONTENT.subarray(0, half), 0, 0), data(request, CONTENT.subarray(0, half))),
    ],
    [
      'data and a hole over each other',
      (request) => join(data(request, CONTENT.subarray(0, half), half, 0), hole(request, 0, half + 1)),
    ],
    ['a hole that is too long', (request) => hole(request, 0, LENGTH + 1)],
    ['a chunk of a type that nobody knows', ({ cookie }) => chunk(cookie, 99, Buffer.alloc(8))],
    ['a chunk without an end', ({ cookie }) => chunk(cookie, 99, Buffer.alloc(8)).fill(0xff, 16, 20)],
    ['an error that is none', ({ cookie }) => chunk(cookie, NBD_REPLY_TYPE_ERROR, u32(NBD_EIO))],
    [
      'an error whose message has no end',
      ({ cookie }) => chunk(cookie, NBD_REPLY_TYPE_ERROR, join(u32(NBD_EIO), u16(999))),
    ],
    ['the status of blocks', (request) => status(request, LENGTH, 0)],
    [
      'an empty chunk that is not the last',
      ({ cookie }) => chunk(cookie, NBD_REPLY_TYPE_NONE, Buffer.alloc(0), 0),
    ],
  ])('%s is asked again on another connection', async (_name, wrong, structured = true) => {
    const rightly = structured ? right : ({ cookie }: ScriptedRequest) => simpleReply(cookie, 0, CONTENT);
    const { device, server, ctx } = await open({
      structured,
      answer: (request, nth) => (nth === 0 ? wrong(request) : rightly(request)),
    });
    expect(await read(device)).toEqual(CONTENT);
    expect(server.connections).toBe(2);
    expect(ctx.logger.lines.map(({ level }) => level)).toEqual(['warn', 'info']);
  });

  it.each([false, true])('pieces in any order, and dripping is %s, is whole', async (drips) => {
    const { device, server } = await open({
      drips,
      answer: (request) =>
        join(
          data(request, CONTENT.subarray(1000, 3000), 1000, 0),
          hole(request, 3000, LENGTH - 3000, 0),
          data(request, CONTENT.subarray(0, 1000), 0, 0),
          chunk(request.cookie, NBD_REPLY_TYPE_NONE, Buffer.alloc(0)),
        ),
    });
    const expected = Buffer.from(CONTENT).fill(0, 3000);
    expect(await read(device)).toEqual(expected);
    expect(await read(device, LENGTH)).toEqual(expected);
    expect(server.connections).toBe(1);
  });

  it('an error fails with what the server says of it, and nothing else does', async () => {
    const { device, server } = await open({
      answer: (request) =>
        request.offset === 0
          ? chunk(request.cookie, NBD_REPLY_TYPE_ERROR, join(u32(NBD_EIO), u16(4), Buffer.from('dust')))
          : right(request),
    });
    await expect(read(device)).rejects.toMatchObject({
      code: 'EIO',
      message: expect.stringContaining('dust'),
    });
    expect(await read(device, LENGTH)).toEqual(CONTENT);
    expect(server.connections).toBe(1);
  });

  it('news of a shutdown is asked again', async () => {
    const { device } = await open({
      answer: (request, nth) =>
        nth === 0
          ? chunk(request.cookie, NBD_REPLY_TYPE_ERROR, join(u32(NBD_ESHUTDOWN), u16(0)))
          : right(request),
    });
    expect(await read(device)).toEqual(CONTENT);
  });
});

describe('the status of blocks', () => {
  it.each<[string, (request: ScriptedRequest) => Buffer]>([
    [
      'of another context',
      ({ cookie }) => chunk(cookie, NBD_REPLY_TYPE_BLOCK_STATUS, join(u32(CONTEXT + 1), u32(SIZE), u32(0))),
    ],
    ['of nothing', ({ cookie }) => chunk(cookie, NBD_REPLY_TYPE_NONE, Buffer.alloc(0))],
    ['without an extent', ({ cookie }) => chunk(cookie, NBD_REPLY_TYPE_BLOCK_STATUS, u32(CONTEXT))],
    ['with an extent of no length', (request) => status(request, 0, 0)],
  ])('%s is asked again', async (_name, wrong) => {
    const { device } = await open({
      answer: (request, nth) => (nth === 0 ? wrong(request) : right(request)),
    });
    expect(await device.extents!(0, SIZE)).toEqual([{ offset: 0, length: SIZE, kind: 'hole' }]);
  });

  it('that comes in parts is put together, and a hole that may hold anything is data', async () => {
    const { device } = await open({
      answer: (request) =>
        request.offset === 0 ? status(request, 4096, 0, 4096, 1) : status(request, 512, 2, 2 * SIZE, 3),
    });
    expect(await device.extents!(0, SIZE)).toEqual([
      { offset: 0, length: 4096, kind: 'data' },
      { offset: 4096, length: 4096, kind: 'data' },
      { offset: 8192, length: 512, kind: 'zero' },
      { offset: 8704, length: SIZE - 8704, kind: 'hole' },
    ]);
  });
});

describe('a negotiation with', () => {
  it.each<[string, Partial<NbdScript>, string]>([
    [
      'something else',
      { greet: (socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n') || true },
      'nbd.refused',
    ],
    ['a server that closes at once', { greet: (socket) => socket.end() !== undefined }, 'nbd.unavailable'],
    ['an answer to another option', { option: () => optionReply(99, NBD_REP_ACK) }, 'nbd.unavailable'],
    [
      'an answer of 4 GiB',
      { option: (option) => optionReply(option, NBD_REP_ACK).fill(0xff, 16, 20) },
      'nbd.unavailable',
    ],
    [
      'no size',
      { option: (option) => (option === NBD_OPT_GO ? optionReply(option, NBD_REP_ACK) : undefined) },
      'nbd.unavailable',
    ],
    [
      'no end',
      {
        option: (option) =>
          option === NBD_OPT_GO
            ? Buffer.concat(Array(10_001).fill(optionReply(option, NBD_REP_INFO, u16(9))))
            : undefined,
      },
      'nbd.unavailable',
    ],
    ['a size of nothing', { size: 0 }, 'nbd.unusable-export'],
    ['a size of half a block', { size: 700 }, 'nbd.unusable-export'],
    [
      'replies before there are requests',
      {
        option: (option) =>
          option === NBD_OPT_STRUCTURED_REPLY
            ? join(optionReply(option, NBD_REP_ACK), Buffer.alloc(20))
            : undefined,
      },
      'nbd.unavailable',
    ],
  ])('%s fails with a reason', async (_name, script, code) => {
    await expect(open(script)).rejects.toMatchObject({ code });
  });
});

describe('a large read', () => {
  it.each([false, true])('lands where it belongs, however it arrives (in pieces: %s)', async (drips) => {
    const content = Buffer.from(Array.from({ length: 512 * 1024 }, (_, at) => (at * 7 + (at >> 9)) % 251));
    const { device } = await open({
      ...(drips && { pieces: 10_007 }),
      answer: (request) =>
        join(
          data(request, content.subarray(0, 200_000), 0, 0),
          hole(request, 200_000, 40_000, 0),
          data(request, content.subarray(240_000, content.length), 240_000),
        ),
    });
    content.fill(0, 200_000, 240_000);
    const guarded = Buffer.alloc(content.length + 64, 0xee);
    const into = guarded.subarray(32, 32 + content.length);
    await device.read(0, [into.subarray(0, 70_001), into.subarray(70_001, 70_100), into.subarray(70_100)], 0);
    expect(into.equals(content)).toBe(true);
    expect(
      [...guarded.subarray(0, 32), ...guarded.subarray(32 + content.length)].every((byte) => byte === 0xee),
    ).toBe(true);
  });

  it('of a connection that is given up does not get into memory that is used again', async () => {
    const half = Buffer.alloc(256 * 1024, 0x11);
    let first = true;
    const { device } = await open({
      answer(request, nth) {
        if (nth > 0) return data(request, Buffer.alloc(512 * 1024, 0x22));
        // Half of it, and then what makes the client give the connection up, once it is waiting for the rest.
        if (!first) return undefined;
        first = false;
        return data(request, half, 0, 0);
      },
      later: (socket, nth) => {
        if (nth === 0) setTimeout(() => socket.write(Buffer.alloc(64 * 1024, 0x5a)), 30);
      },
    });
    const into = Buffer.alloc(512 * 1024);
    await device.read(0, [into], 0);
    expect(into.every((byte) => byte === 0x22)).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(into.every((byte) => byte === 0x22)).toBe(true);
  });
});
