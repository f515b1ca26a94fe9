import { Duplex } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { Change } from '../../../backends/redis/change.ts';
import { RespConnection, type RespError } from '../../../backends/redis/resp-connection.ts';
import { WriteMemory } from '../../../backends/redis/write-memory.ts';
import { WriterConnection } from '../../../backends/redis/writer-connection.ts';

/** Commands as lists of their words. */
function parse(text: string): string[][] {
  const commands: string[][] = [];
  let at = 0;
  const number = (): number => {
    const end = text.indexOf('\r\n', at);
    const value = Number(text.slice(at + 1, end));
    at = end + 2;
    return value;
  };
  while (at < text.length) {
    const words: string[] = [];
    for (let left = number(); left > 0; left--) {
      const length = number();
      words.push(text.slice(at, at + length));
      at += length + 2;
    }
    commands.push(words);
  }
  return commands;
}

let stream: Duplex;
afterEach(() => stream.destroy());

/** A server that answers by the name of the command; the n-th entry of a list the n-th time. */
function serve(answers: Readonly<Record<string, string>>) {
  const asked: string[][] = [];
  stream = new Duplex({
    read: () => undefined,
    write: (bytes: Buffer, _encoding, done) => {
      for (const command of parse(bytes.toString('latin1'))) {
        asked.push(command);
        // In the smallest of pieces.
        for (const byte of Buffer.from(answers[command[0]!] ?? '+OK\r\n', 'latin1'))
          stream.push(Buffer.from([byte]));
      }
      done();
    },
    writev: (chunks, done) => {
      const bytes = Buffer.concat(
        chunks.map(({ chunk, encoding }) =>
          typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk,
        ),
      );
      stream._write(bytes, 'latin1', done);
    },
  });
  return { asked, writer: new WriterConnection(new RespConnection(stream, 10_000)) };
}

const memory = new WriteMemory(0);
const writes = [0, 1].map((byte) => Change.write(memory, 5, 'key', byte, 3, [Buffer.from('abc')], 0));
const GOOD = { GET: '$2\r\nme\r\n', EXISTS: ':1\r\n', SETRANGE: '+QUEUED\r\n' };
const transact = (writer: WriterConnection) => writer.transact('owner', 'me', ['key'], writes);
const names = (asked: readonly string[][]): string[] =>
  asked.map(([name]) => name!).filter((name) => name !== 'SCRIPT');

describe('a transaction', () => {
  it('looks first, and then writes', async () => {
    const { asked, writer } = serve({ ...GOOD, EXEC: '*2\r\n:9\r\n:9\r\n' });
    expect(await transact(writer)).toEqual([undefined, undefined]);
    expect(names(asked)).toEqual(['WATCH', 'GET', 'EXISTS', 'MULTI', 'SETRANGE', 'SETRANGE', 'EXEC']);
    expect(asked).toContainEqual(['WATCH', 'owner', 'key']);
    expect(asked).toContainEqual(['SETRANGE', 'key', '1', 'abc']);
  });

  it.each([
    ['the volume is somebody else’s', { GET: '$3\r\nyou\r\n' }, 'DISCARD'],
    ['there is no owner', { GET: '$-1\r\n' }, 'DISCARD'],
    ['a chunk is missing', { EXISTS: ':0\r\n' }, 'DISCARD'],
    ['nothing can be watched', { WATCH: '-NOPERM no\r\n' }, 'DISCARD'],
    [
      'there is no MULTI, after which everything would be carried out at once',
      { MULTI: '-NOPERM no\r\n' },
      'UNWATCH',
    ],
  ])('writes nothing where %s', async (_why, answers, end) => {
    const { asked, writer } = serve({ ...GOOD, ...answers });
    expect(await transact(writer)).toBeUndefined();
    await writer.ask(['PING']);
    expect(names(asked)).toEqual(['WATCH', 'GET', 'EXISTS', 'MULTI', end, 'PING']);
  });

  it('is not tried again where the user may not', async () => {
    const { writer } = serve({ ...GOOD, WATCH: '-NOPERM no\r\n' });
    expect(await transact(writer)).toBeUndefined();
    expect(writer.prefersTransaction(2 ** 20)).toBe(false);
  });

  it('that the server refuses since something was changed has done nothing', async () => {
    const { writer } = serve({ ...GOOD, EXEC: '*-1\r\n' });
    expect(await transact(writer)).toBeUndefined();
  });

  it('gives each write its error', async () => {
    const { writer } = serve({ ...GOOD, EXEC: '*2\r\n:9\r\n-WRONGTYPE no string\r\n' });
    const [first, second] = (await transact(writer))! as [undefined, RespError];
    expect(first).toBeUndefined();
    expect(second.message).toBe('WRONGTYPE no string');
  });

  it.each([
    ['as a whole', { EXEC: '-EXECABORT Transaction discarded because of: READONLY no\r\n' }, 'READONLY no'],
    ['for one command', { SETRANGE: '-OOM no\r\n', EXEC: '-EXECABORT Transaction discarded\r\n' }, 'OOM no'],
  ])('that is refused %s says why', async (_how, answers, message) => {
    const { writer } = serve({ ...GOOD, ...answers });
    await expect(transact(writer)).rejects.toThrow(message);
  });

  it('that has no end takes the connection with it', async () => {
    const { writer } = serve({ ...GOOD, EXEC: '-ERR what\r\n' });
    await expect(transact(writer)).rejects.toThrow('ERR what');
    await expect(writer.ask(['PING'])).rejects.toThrow();
    expect(stream.destroyed).toBe(true);
  });

  it('holds back what is not a part of it', async () => {
    const { asked, writer } = serve({ ...GOOD, EXEC: '*2\r\n:9\r\n:9\r\n', WAIT: ':1\r\n' });
    const done = transact(writer);
    expect(await writer.ask(['WAIT', 1, 100])).toBe(1);
    await done;
    expect(names(asked).slice(-2)).toEqual(['EXEC', 'WAIT']);
  });
});
