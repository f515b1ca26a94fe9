import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { adaptDevice } from '../../../core/block/layers.ts';
import { resolve } from '../../../core/block/resolve.ts';
import {
  NBD_CMD_CACHE,
  NBD_CMD_READ,
  NBD_CMD_WRITE,
  NBD_EINVAL,
  NBD_ENOMEM,
  NBD_FLAG_HAS_FLAGS,
  NBD_FLAG_READ_ONLY,
  NBD_FLAG_SEND_CACHE,
  NBD_FLAG_SEND_FLUSH,
  NBD_INFO_BLOCK_SIZE,
  NBD_INFO_EXPORT,
  NBD_OPT_GO,
  NBD_REP_ACK,
  NBD_REP_INFO,
} from '../../../core/nbd/protocol.ts';
import { openScriptedDisk } from '../../support/scripted-nbd-disk.ts';
import {
  join,
  type NbdScript,
  optionReply,
  type ScriptedRequest,
  simpleReply,
  u16,
  u32,
  u64,
} from '../../support/scripted-nbd-server.ts';

/** NBD_CMD_CACHE, as far as it concerns a client. */

const SIZE = 2 ** 20;
const FLAGS = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_CACHE;

let owned: AsyncDisposableStack;

beforeEach(() => {
  owned = new AsyncDisposableStack();
});

afterEach(() => owned.disposeAsync());

const right = ({ command, cookie, length }: ScriptedRequest): Buffer =>
  simpleReply(cookie, 0, Buffer.alloc(command === NBD_CMD_READ ? length : 0, 7));

async function open(script: Partial<NbdScript> = {}) {
  const asked: { command: number; flags: number; offset: number; length: number; nth: number }[] = [];
  const { answer = right } = script;
  const opened = await openScriptedDisk(owned, {
    size: SIZE,
    structured: false,
    flags: FLAGS,
    ...script,
    answer(request, nth) {
      const { command, flags, offset, length } = request;
      asked.push({ command, flags, offset, length, nth });
      return answer(request, nth);
    },
  });
  return { ...opened, asked };
}

describe('a prefetch', () => {
  it('is there where the server takes it, and nowhere else', async () => {
    const { device } = await open({ flags: NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH });
    expect(device.prefetch).toBeUndefined();
  });

  it('is sent as it is, also of a disk that is read-only', async () => {
    const { device, asked } = await open({ flags: FLAGS | NBD_FLAG_READ_ONLY });
    await device.prefetch!(4096, 65536);
    expect(asked).toEqual([{ command: NBD_CMD_CACHE, flags: 0, offset: 4096, length: 65536, nth: 0 }]);
  });

  it('is of no more bytes than the server takes at a time', async () => {
    const sizes = join(u16(NBD_INFO_BLOCK_SIZE), u32(4096), u32(4096), u32(400 * 1024));
    const { device, asked } = await open({
      option: (option) =>
        option === NBD_OPT_GO
          ? join(
              optionReply(option, NBD_REP_INFO, join(u16(NBD_INFO_EXPORT), u64(BigInt(SIZE)), u16(FLAGS))),
              optionReply(option, NBD_REP_INFO, sizes),
              optionReply(option, NBD_REP_ACK),
            )
          : undefined,
    });
    await adaptDevice(resolve(device, 'nbd')).device.prefetch(4096, SIZE - 4096);
    expect(asked.map(({ offset, length }) => [offset / 4096, length / 4096])).toEqual([
      [1, 100],
      [101, 100],
      [201, 55],
    ]);
  });

  it.each([
    [NBD_ENOMEM, 'ENOMEM'],
    [NBD_EINVAL, 'EINVAL'],
  ])('that the server answers with error %i fails, and nothing else does', async (error, code) => {
    const { device, server } = await open({
      answer: (request) =>
        request.command === NBD_CMD_CACHE ? simpleReply(request.cookie, error) : right(request),
    });
    const into = Buffer.alloc(512);
    await Promise.all([
      expect(device.prefetch!(0, 4096)).rejects.toMatchObject({ code }),
      device.read(0, [into], 0),
    ]);
    expect(into).toEqual(Buffer.alloc(512, 7));
    expect(server.connections).toBe(1);
  });

  it('that was answered is not sent again on the next connection, as a write is', async () => {
    const { device, asked } = await open({
      answer: (request, nth) =>
        request.command === NBD_CMD_READ && nth === 0 ? Buffer.alloc(64, 0x5a) : right(request),
    });
    await device.prefetch!(0, 4096);
    expect(device.status!()).toMatchObject({ unflushed: '0 bytes' });
    await device.write!(8192, [Buffer.alloc(512)], 0);
    await device.read(0, [Buffer.alloc(512)], 0);
    expect(asked.map(({ command, nth }) => [nth, command])).toEqual([
      [0, NBD_CMD_CACHE],
      [0, NBD_CMD_WRITE],
      [0, NBD_CMD_READ],
      [1, NBD_CMD_WRITE],
      [1, NBD_CMD_READ],
    ]);
  });

  it('that is under way when the connection breaks is asked on the next', async () => {
    const { device, asked } = await open({
      answer: (request, nth) => (nth === 0 ? Buffer.alloc(64, 0x5a) : right(request)),
    });
    await device.prefetch!(0, 4096);
    expect(asked.map(({ command, nth }) => [nth, command])).toEqual([
      [0, NBD_CMD_CACHE],
      [1, NBD_CMD_CACHE],
    ]);
  });

  it('does not fill the window of what is not flushed', async () => {
    const { device, asked } = await open();
    await Promise.all(Array.from({ length: 1000 }, (_, i) => device.prefetch!(i * 512, 512)));
    expect(asked).toHaveLength(1000);
    expect(device.status!()).toMatchObject({ unflushed: '0 bytes' });
  });
});
