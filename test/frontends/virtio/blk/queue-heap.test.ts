import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { inFlightLogBytes } from '../../../../frontends/virtio/virtq/inflight.ts';
import type { Descriptor } from '../../../support/driver-ring.ts';
import { LAYOUTS } from '../../../support/make-ring.ts';
import { NullVolume, QueueRig } from './queue-rig.ts';

const REQUESTS = 1_000_000;
const DEPTH = 32;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function heapUsed(): number {
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** A read of 4096 bytes in two pieces, or a write of a sector, in an indirect table. */
function requestTable({ ring }: QueueRig, i: number): Descriptor {
  const write = i % 2;
  const header = ring.allocate(16);
  ring.view.setUint32(header - ring.base, write, true);
  const payload = write
    ? [{ addr: ring.allocate(512), len: 512 }]
    : [1024, 3072].map((len) => ({ addr: ring.allocate(len), len, writable: true }));
  return ring.writeTable([
    { addr: header, len: 16 },
    ...payload,
    { addr: ring.allocate(1), len: 1, writable: true },
  ]);
}

describe.each(LAYOUTS)('a request that completes synchronously, %s ring', (layout) => {
  it('leaves nothing on the heap', () => {
    const inFlightLog = new Uint8Array(inFlightLogBytes(64));
    const rig = new QueueRig({ layout, num: 64, queue: { volume: new NullVolume(), inFlightLog } });
    const { ring, queue } = rig;
    const requests = Array.from({ length: DEPTH }, (_, i) => requestTable(rig, i));
    const serve = (count: number) => {
      for (let done = 0; done < count; done += DEPTH) {
        for (const request of requests) ring.add([request]);
        queue.process();
        for (let i = 0; i < DEPTH; i++) ring.takeUsed();
      }
    };
    serve(REQUESTS / 10);
    const before = heapUsed();
    serve(REQUESTS);
    // A single byte kept per request would be ten times as much.
    expect(heapUsed() - before).toBeLessThan(REQUESTS / 10);
    expect(ring.outstanding).toBe(0);
  }, 120_000);
});
