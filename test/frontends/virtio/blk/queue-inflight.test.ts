import { describe, expect, it } from 'vitest';
import { inFlightLogBytes } from '../../../../frontends/virtio/virtq/inflight.ts';
import { QueueRig } from './queue-rig.ts';

/** What the log of a queue has to do with requests; how it is kept is in `virtq/inflight-split.test.ts`. */

const entryAt = (head: number): number => 16 + 16 * head;

/** A queue, and one after it on the same ring and the same log. */
function setUp(num: number) {
  const log = new Uint8Array(inFlightLogBytes(num));
  const first = new QueueRig({ num, queue: { inFlightLog: log } });
  const succeed = () => new QueueRig({ ring: first.ring, queue: { inFlightLog: log } });
  return { log, first, succeed };
}

const never = () => new Promise<void>(() => {});

describe('the log of a block queue', () => {
  it('has every head from before its request is started until the driver can see its completion', () => {
    const { log, first } = setUp(16);
    const seen: string[] = [];
    const { head } = first.driver.read(0, 512);
    first.device.gate = () => {
      seen.push(`started: ${log[entryAt(head)]}, ${first.ring.publishedIndex} published`);
      return undefined;
    };
    first.run();
    seen.push(`done: ${log[entryAt(head)]}, ${first.ring.publishedIndex} published`);
    expect(seen).toEqual(['started: 1, 0 published', 'done: 0, 1 published']);
  });

  it('lets go of chains that are no requests, too', () => {
    const { log, first, succeed } = setUp(16);
    const head = first.ring.add([{ addr: 0, len: 0 }]);
    first.run();
    expect(log[entryAt(head)]).toBe(0);
    const second = succeed();
    second.run();
    expect(second.malformed).toEqual([]);
  });

  it('keeps what was in flight when the driver reset the device: forgetting it is up to the transport', () => {
    const { log, first } = setUp(16);
    first.device.gate = never;
    const { head } = first.driver.read(0, 512);
    first.run();
    first.queue.abandon();
    expect(log[entryAt(head)]).toBe(1);
  });
});

describe('a block queue that inherits requests', () => {
  it('starts them all in its first turn, however much work that is, before anything new', () => {
    const { first, succeed } = setUp(1024);
    first.device.gate = never;
    for (let sector = 0; sector < 300; sector++) first.driver.read(sector, 512);
    first.run();
    expect(first.queue.inFlight).toBe(300);
    first.driver.read(1000, 512);
    const second = succeed();
    second.device.gate = never;
    second.queue.process();
    expect(second.device.calls.map(({ offset }) => offset / 512)).toEqual([...Array(300).keys()]);
    expect(second.scheduled).toHaveLength(1);
    second.queue.stop();
    expect(second.queue.inFlight).toBe(300);
    expect(second.queue.availIndex).toBe(300);
  });
});
