import { describe, expect, it } from 'vitest';
import { UnflushedWrites } from '../../../../frontends/virtio/blk/unflushed-writes.ts';
import { QueueRig } from './queue-rig.ts';

const memory = () => new Uint8Array(8);

/** A queue whose volume keeps answered writes in its process, as its driver sees it. */
function rig() {
  const unflushed = new UnflushedWrites(memory());
  return { ...{ unflushed }, rig: new QueueRig({ queue: { unflushed } }) };
}

describe('writes that no flush has covered', () => {
  it('are known from the moment the driver sees them done', () => {
    const { rig: queue, unflushed } = rig();
    queue.driver.read(0, 512);
    queue.run();
    expect(unflushed.any).toBe(false);
    queue.driver.write(0, new Uint8Array(512));
    queue.run();
    expect(unflushed.any).toBe(true);
  });

  it('are forgotten with a flush', () => {
    const { rig: queue, unflushed } = rig();
    queue.driver.write(0, new Uint8Array(512));
    queue.driver.flush();
    queue.run();
    expect(unflushed.any).toBe(false);
  });

  it('are not, when another one is answered while the flush is under way', async () => {
    const { rig: queue, unflushed } = rig();
    queue.driver.write(0, new Uint8Array(512));
    const flush = Promise.withResolvers<void>();
    queue.device.gate = ({ op }) => (op === 'flush' ? flush.promise : undefined);
    queue.driver.flush();
    queue.run();
    queue.driver.write(1, new Uint8Array(512));
    queue.run();
    flush.resolve();
    await queue.queue.drain();
    expect(unflushed.any).toBe(true);
  });

  it('stay known when the flush fails, and are none when the write did', async () => {
    const { rig: queue, unflushed } = rig();
    queue.device.gate = () => {
      throw new Error('the store is gone');
    };
    queue.driver.write(0, new Uint8Array(512));
    queue.run();
    expect(unflushed.any).toBe(false);
    queue.device.gate = ({ op }) => {
      if (op === 'flush') throw new Error('the store is gone');
    };
    queue.driver.write(0, new Uint8Array(512));
    queue.driver.flush();
    queue.run();
    expect(unflushed.any).toBe(true);
  });

  it('are known to the next process', () => {
    const shared = memory();
    new UnflushedWrites(shared).answered();
    const next = new UnflushedWrites(shared);
    expect(next.any).toBe(true);
    next.flushed(next.mark);
    expect(next.any).toBe(false);
  });
});
