import { describe, expect, it } from 'vitest';
import { QueueRig } from './queue-rig.ts';

const pattern = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff);

describe('a block queue', () => {
  it('writes and reads back, and says how many bytes it wrote', () => {
    const rig = new QueueRig();
    const data = pattern(4096);
    const write = rig.driver.write(8, data);
    rig.run();
    expect(rig.ring.takeAllUsed()).toEqual([{ head: write.head, written: 1 }]);
    expect(rig.driver.status(write)).toBe(0);

    const read = rig.driver.read(8, 4096);
    rig.run();
    expect(rig.ring.takeAllUsed()).toEqual([{ head: read.head, written: 4097 }]);
    expect(rig.driver.status(read)).toBe(0);
    expect(rig.driver.payload(read)).toEqual(data);
  });
});
