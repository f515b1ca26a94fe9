import { describe, expect, it } from 'vitest';
import { inFlightLogBytes } from '../../../../frontends/virtio/virtq/inflight.ts';
import type { RingLayout } from '../../../../frontends/virtio/virtq/ring-state.ts';
import { LAYOUTS } from '../../../support/make-ring.ts';
import { QueueRig } from './queue-rig.ts';

/** What the log of a queue has to do with requests; how it is kept is in `virtq/inflight.test.ts`. */

/** The inflight byte of the first request that a queue takes. */
const FIRST = { split: (head: number) => 16 + 16 * head, packed: () => 32 };

/** A queue, and one after it on the same ring and the same log. */
function setUp(layout: RingLayout, num: number) {
  const log = new Uint8Array(inFlightLogBytes(num));
  const first = new QueueRig({ layout, num, queue: { inFlightLog: log } });
  const succeed = () => new QueueRig({ layout, ring: first.ring, queue: { inFlightLog: log } });
  return { log, first, succeed };
}

const never = () => new Promise<void>(() => {});

describe.each(LAYOUTS)('the log of a block queue, %s ring', (layout) => {
  it('has every head from before its request is started until the driver can see its completion', () => {
    const { log, first } = setUp(layout, 16);
    const seen: string[] = [];
    const { head } = first.driver.read(0, 512);
    first.device.gate = () => {
      seen.push(`started: ${log[FIRST[layout](head)]}, ${first.ring.published} published`);
      return undefined;
    };
    first.run();
    seen.push(`done: ${log[FIRST[layout](head)]}, ${first.ring.published} published`);
    expect(seen).toEqual(['started: 1, 0 published', 'done: 0, 1 published']);
  });

  it('lets go of chains that are no requests, too', () => {
    const { log, first, succeed } = setUp(layout, 16);
    const head = first.ring.add([{ addr: 0, len: 0 }]);
    first.run();
    expect(log[FIRST[layout](head)]).toBe(0);
    const second = succeed();
    second.run();
    expect(second.malformed).toEqual([]);
  });

  it('keeps what was in flight when the driver reset the device: forgetting it is up to the transport', () => {
    const { log, first } = setUp(layout, 16);
    first.device.gate = never;
    const { head } = first.driver.read(0, 512);
    first.run();
    first.queue.abandon();
    expect(log[FIRST[layout](head)]).toBe(1);
  });
});

describe.each(LAYOUTS)('a block queue that inherits requests, %s ring', (layout) => {
  it('starts them all in its first turn, however much work that is, before anything new', () => {
    const { first, succeed } = setUp(layout, 1024);
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
  });
});
