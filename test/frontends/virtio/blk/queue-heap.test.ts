import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { inFlightLogBytes } from '../../../../frontends/virtio/virtq/inflight.ts';
import { NullVolume, QueueRig } from './queue-rig.ts';

const REQUESTS = 1_000_000;
const DEPTH = 32;
const FRAMING = { writable: [1024, 3072], indirect: true };

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function heapUsed(): number {
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

describe('a request that completes synchronously', () => {
  it('leaves nothing on the heap', () => {
    const { ring, driver, queue } = new QueueRig({
      num: 64,
      queue: { volume: new NullVolume(), inFlightLog: new Uint8Array(inFlightLogBytes(64)) },
    });
    const heads = Array.from({ length: DEPTH }, (_, i) => {
      const sent = i % 2 ? driver.read(i, 4096, FRAMING) : driver.write(i, new Uint8Array(512));
      return sent.head;
    });
    queue.process();
    const serve = (requests: number) => {
      for (let done = 0; done < requests; done += DEPTH) {
        for (const head of heads) ring.offerRaw(head);
        queue.process();
      }
    };
    serve(REQUESTS / 10);
    const before = heapUsed();
    serve(REQUESTS);
    // A single byte kept per request would be ten times as much.
    expect(heapUsed() - before).toBeLessThan(REQUESTS / 10);
    expect(ring.publishedIndex).toBe(queue.availIndex);
  }, 120_000);
});
