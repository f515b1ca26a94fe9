import { describe, expect, it } from 'vitest';
import { NO_STATUS } from '../../../support/blk-driver.ts';
import { watchVirtqueues } from '../../../support/watch-virtqueues.ts';
import { pattern, QueueRig } from './queue-rig.ts';

/** A driver that changes its memory between the moment it is checked and the moment it is used. */

const OK = 0;
const WRITE = 1;
const DISCARD = 11;
const WRITE_ZEROES = 13;

describe('a driver that changes', () => {
  it('a header while its request is carried out changes nothing', async () => {
    const rig = new QueueRig();
    rig.device.data.set(pattern(512));
    const read = rig.driver.read(0, 512);
    const header = rig.ring.at(read.readable[0]!.addr, 16);
    const started = Promise.withResolvers<void>();
    rig.device.gate = () => {
      header.fill(0xff)[0] = WRITE;
      return started.promise;
    };
    rig.run();
    header.fill(0)[0] = DISCARD;
    started.resolve();
    await rig.queue.drain();
    expect(rig.device.calls.map(({ op }) => op)).toEqual(['read']);
    expect(rig.ring.takeAllUsed()).toEqual([{ head: read.head, written: 513 }]);
    expect(rig.driver.status(read)).toBe(OK);
    expect(rig.driver.payload(read)).toEqual(pattern(512));
  });

  it.each([true, false])('descriptors of a chain that was taken changes nothing, indirect %s', (indirect) => {
    const rig = new QueueRig();
    using _watching = watchVirtqueues({
      onTake: () => {
        // All of the table, and every byte behind the rings that is not header, payload or status.
        rig.ring.bytes.fill(0xff, 0, 16 * rig.ring.num);
        if (tableAt !== undefined) rig.ring.at(tableAt, 48).fill(0xff);
      },
      onGive: () => undefined,
    });
    rig.device.data.set(pattern(512));
    const read = rig.driver.read(0, 512, { indirect });
    const { view } = rig.ring;
    const tableAt = indirect ? Number(view.getBigUint64(16 * read.head, true)) : undefined;
    rig.run();
    expect(rig.malformed).toEqual([]);
    expect(rig.ring.takeAllUsed()).toEqual([{ head: read.head, written: 513 }]);
    expect(rig.driver.payload(read)).toEqual(pattern(512));
  });

  it('segments of a request after the first was started changes none of the others', async () => {
    for (const asynchronous of [false, true]) {
      const rig = new QueueRig();
      const ranges = [1, 2, 3].map((sector) => ({ sector, count: 1 }));
      const request = rig.driver.ranges(WRITE_ZEROES, ranges);
      rig.device.gate = () => {
        rig.ring.at(request.readable[1]!.addr, 48).fill(0);
        return asynchronous ? Promise.resolve() : undefined;
      };
      rig.run();
      await rig.queue.drain();
      expect(rig.device.calls.map(({ offset, length }) => [offset, length])).toEqual([
        [512, 512],
        [1024, 512],
        [1536, 512],
      ]);
      expect(rig.driver.status(request)).toBe(OK);
    }
  });

  it('the available ring behind the index that was seen is believed once', () => {
    const rig = new QueueRig();
    const first = rig.driver.write(0, pattern(512));
    const second = rig.driver.write(1, pattern(512));
    rig.device.gate = () => {
      // The second entry names the first chain again, which is in flight no more when it is read.
      const at = 16 * rig.ring.num + 4 + 2;
      rig.ring.view.setUint16(at, first.head, true);
      return undefined;
    };
    rig.run();
    expect(rig.broken).toEqual([]);
    expect(rig.ring.published).toBe(2);
    expect(rig.driver.status(second)).toBe(NO_STATUS);
    expect(() => rig.ring.takeAllUsed()).toThrow(`id ${first.head} is not a head!`);
  });
});
