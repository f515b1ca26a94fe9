import { closeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { EdgeWait } from '../../../core/system/edge-wait.ts';
import { orThrow, SystemError } from '../../../core/system/errno.ts';
import { linux } from '../../../core/system/libc.ts';

const ONE = new Uint8Array(new BigUint64Array([1n]).buffer);

function eventfd() {
  const fd = orThrow('eventfd', linux.eventfd());
  return { fd, signal: () => linux.write(fd, ONE), [Symbol.dispose]: () => void linux.close(fd) };
}

describe('EdgeWait', () => {
  it('returns for each write, without anybody reading', () => {
    using event = eventfd();
    using wait = new EdgeWait();
    wait.add(event.fd);
    for (let i = 0; i < 3; i++) {
      event.signal();
      wait.wait();
    }
  });

  it('returns for a write that came before it was asked to wait', () => {
    using event = eventfd();
    using wait = new EdgeWait();
    event.signal();
    wait.add(event.fd);
    wait.wait();
  });

  it('sleeps until another thread writes', () => {
    using event = eventfd();
    using wait = new EdgeWait();
    wait.add(event.fd);
    const shared = new Int32Array(new SharedArrayBuffer(4));
    const script = `
      const { workerData } = require('node:worker_threads');
      const { writeSync } = require('node:fs');
      setTimeout(() => {
        Atomics.store(workerData.shared, 0, 1);
        writeSync(workerData.fd, new Uint8Array(new BigUint64Array([1n]).buffer));
      }, 20);`;
    const worker = new Worker(script, { eval: true, workerData: { fd: event.fd, shared } });
    wait.wait();
    expect(Atomics.load(shared, 0)).toBe(1);
    worker.unref();
  });

  it('listens no longer to what was removed', () => {
    using first = eventfd();
    using second = eventfd();
    using wait = new EdgeWait();
    wait.add(first.fd);
    wait.add(second.fd);
    wait.remove(first.fd);
    first.signal();
    second.signal();
    wait.wait();
    expect(() => wait.remove(first.fd)).toThrow(SystemError);
  });

  it('says so when it is given no descriptor', () => {
    using wait = new EdgeWait();
    using event = eventfd();
    closeSync(orThrow('eventfd', linux.eventfd()));
    expect(() => wait.add(event.fd + 1000)).toThrow('epoll_ctl add');
  });
});
