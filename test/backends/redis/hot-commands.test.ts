import { EventEmitter } from 'node:events';
import { Duplex } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { SingleCommands } from '../../../backends/redis/hot-commands.ts';

/** A connection of ioredis whose server answers every command with the same line. */
class FakeRedis extends EventEmitter {
  status = 'connecting';
  stream!: Duplex;
  readonly asked: string[] = [];

  connect(answer: string): void {
    this.stream = new Duplex({
      read: () => undefined,
      write: (chunk, _encoding, done) => {
        this.asked.push(String(chunk));
        for (const _command of String(chunk).matchAll(/\*\d+\r\n/g)) this.stream.push(answer);
        done();
      },
    });
    this.status = 'ready';
    this.emit('ready');
  }

  get redis(): Redis {
    return this as unknown as Redis;
  }
}

describe('the commands of reads and writes', () => {
  it('leave no failure to nobody while one of the two connections is away', async () => {
    const [reader, writer] = [new FakeRedis(), new FakeRedis()];
    const commands = new SingleCommands(reader.redis, [writer.redis], 1000);
    reader.connect('-LOADING Redis is loading the dataset in memory\r\n');
    const unhandled: unknown[] = [];
    const collect = (error: unknown) => unhandled.push(error);
    process.on('unhandledRejection', collect);
    try {
      await expect(commands.ping()).rejects.toThrow('there is no connection');
      for (let turn = 0; turn < 5; turn++) await setImmediate();
    } finally {
      process.off('unhandledRejection', collect);
    }
    expect(unhandled).toEqual([]);
    reader.stream.destroy();
  });

  it('ask both connections whether they are there', async () => {
    const [reader, writer] = [new FakeRedis(), new FakeRedis()];
    const commands = new SingleCommands(reader.redis, [writer.redis], 1000);
    for (const side of [reader, writer]) side.connect('+PONG\r\n');
    await commands.ping();
    for (const side of [reader, writer]) expect(side.asked.join('')).toContain('PING');
    for (const side of [reader, writer]) side.stream.destroy();
  });
});
