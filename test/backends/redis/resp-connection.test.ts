import { Duplex } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RangeRead, type ReadOwner } from '../../../backends/redis/range-read.ts';
import { RespConnection, type RespReply } from '../../../backends/redis/resp-connection.ts';

const silent = (): Duplex =>
  new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('replies', () => {
  it('go into the memory of their reads, however they are cut and however that is', async () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 20 });
    const cuts = fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 200 });
    const check = async (sizes: number[], pieces: number[], missing: number): Promise<void> => {
      const stream = silent();
      const connection = new RespConnection(stream, 10_000);
      const ended: (RespReply | Error)[] = [];
      const owner: ReadOwner = { replied: (_read, reply) => ended.push(reply), lost: () => ended.push(null) };
      const answers: Buffer[] = [];
      const expected: Buffer[] = [];
      const got: Buffer[] = [];
      for (const [i, size] of sizes.entries()) {
        const memory = Buffer.alloc(size + 2, 0xa5);
        const middle = Math.floor(size / 3);
        const views = [memory.subarray(0, middle), memory.subarray(middle, size + 1)];
        connection.send('', new RangeRead(owner, 0, 0, size, i % 2 === 0 ? [memory] : views, 1));
        // The last of them is short, or longer than asked for: nothing is written behind the read.
        const length = i === sizes.length - 1 ? Math.max(0, size - missing) : size;
        const data = Buffer.alloc(length, i + 1);
        answers.push(Buffer.from(`$${length}\r\n`), data, Buffer.from('\r\n'));
        const whole = Buffer.alloc(size + 2, 0xa5);
        data.copy(whole, 1, 0, Math.min(length, size));
        expected.push(whole);
        got.push(memory);
      }
      const all = Buffer.concat(answers);
      for (let at = 0, i = 0; at < all.length; i++) {
        const end = Math.min(all.length, at + pieces[i % pieces.length]!);
        const piece = Buffer.from(all.subarray(at, end));
        stream.emit('data', piece);
        // As with a socket that reads into the same memory again.
        piece.fill(0xee);
        at = end;
      }
      expect(got).toEqual(expected);
      expect(ended).toEqual(
        sizes.map((size, i) => (i === sizes.length - 1 ? Math.max(0, size - missing) : size)),
      );
      stream.destroy();
      await turn();
    };
    await fc.assert(fc.asyncProperty(lengths, cuts, fc.integer({ min: -10, max: 10 }), check));
  });

  it('of a read whose memory was taken away are no data', async () => {
    const stream = silent();
    const connection = new RespConnection(stream, 10_000);
    const ended: (RespReply | Error)[] = [];
    const owner: ReadOwner = { replied: (_read, reply) => ended.push(reply), lost: () => ended.push(null) };
    const memory = Buffer.alloc(5);
    const iov = [Buffer.alloc(5)];
    connection.send('', new RangeRead(owner, 0, 0, 5, iov, 0));
    connection.send('', new RangeRead(owner, 0, 0, 5, [memory], 0));
    iov.length = 0;
    stream.emit('data', Buffer.from('$5\r\nhello\r\n$5\r\nworld\r\n'));
    expect(ended).toEqual([expect.objectContaining({ code: 'ESHUTDOWN' }), 5]);
    expect(String(memory)).toBe('world');
    stream.destroy();
    await turn();
  });

  it('that nothing has asked for end the connection', async () => {
    for (const answer of ['+OK\r\n', '$3\r\nabc\r\n', '?\r\n', `$${2 ** 40}\r\n`]) {
      const stream = silent();
      const connection = new RespConnection(stream, 10_000);
      const asked = answer.startsWith('$1') ? connection.ask('') : undefined;
      asked?.catch(() => undefined);
      stream.emit('data', Buffer.from(answer));
      expect(stream.destroyed).toBe(true);
      await expect(connection.ask('')).rejects.toThrow();
      await expect(asked ?? Promise.reject(new Error('none'))).rejects.toThrow();
    }
  });
});
