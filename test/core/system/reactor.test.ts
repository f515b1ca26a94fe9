import { describe, expect, it } from 'vitest';
import { orThrow } from '../../../core/system/errno.ts';
import { linux } from '../../../core/system/libc.ts';
import { loopReactor, type Readiness } from '../../../core/system/reactor.ts';

const ONE = new Uint8Array(new BigUint64Array([1n]).buffer);

function eventfd() {
  const fd = orThrow('eventfd', linux.eventfd());
  return { fd, signal: () => linux.write(fd, ONE), [Symbol.dispose]: () => void linux.close(fd) };
}

describe('loopReactor', () => {
  it('calls back for each time the descriptor becomes readable', async () => {
    using event = eventfd();
    const counter = new Uint8Array(8);
    let wake = Promise.withResolvers<Readiness>();
    using _watch = loopReactor.watch(event.fd, (readiness) => {
      linux.read(event.fd, counter);
      wake.resolve(readiness);
    });
    for (let i = 0; i < 3; i++) {
      event.signal();
      expect(await wake.promise).toBe('readable');
      wake = Promise.withResolvers();
    }
  });

  it('calls again for what was not read', async () => {
    using event = eventfd();
    let calls = 0;
    const done = Promise.withResolvers<void>();
    using _watch = loopReactor.watch(event.fd, () => {
      if (++calls === 3) {
        linux.read(event.fd, new Uint8Array(8));
        done.resolve();
      }
    });
    event.signal();
    await done.promise;
  });

  it('can be disposed of in its own callback, and is silent then', async () => {
    using event = eventfd();
    let calls = 0;
    const first = Promise.withResolvers<void>();
    const watch = loopReactor.watch(event.fd, () => {
      calls++;
      watch[Symbol.dispose]();
      first.resolve();
    });
    event.signal();
    await first.promise;
    event.signal();
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(calls).toBe(1);
    watch[Symbol.dispose]();
  });

  it('can watch a descriptor again after the first watch has ended', async () => {
    using event = eventfd();
    loopReactor.watch(event.fd, () => {})[Symbol.dispose]();
    const ready = Promise.withResolvers<void>();
    using _watch = loopReactor.watch(event.fd, () => {
      linux.read(event.fd, new Uint8Array(8));
      ready.resolve();
    });
    event.signal();
    await ready.promise;
  });

  it('lets an exception of a callback reach the process', async () => {
    using event = eventfd();
    const seen = Promise.withResolvers<unknown>();
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.once('uncaughtException', (error) => seen.resolve(error));
    using watch = loopReactor.watch(event.fd, () => {
      watch[Symbol.dispose]();
      throw new Error('a bug');
    });
    event.signal();
    expect(await seen.promise).toEqual(new Error('a bug'));
    for (const listener of listeners) process.on('uncaughtException', listener);
  });
});
