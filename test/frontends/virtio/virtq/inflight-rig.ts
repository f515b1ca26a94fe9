import { expect } from 'vitest';
import { Chain } from '../../../../frontends/virtio/virtq/chain.ts';
import { inFlightLogBytes } from '../../../../frontends/virtio/virtq/inflight.ts';
import { openVirtqueue } from '../../../../frontends/virtio/virtq/open-virtqueue.ts';
import type { RingLayout } from '../../../../frontends/virtio/virtq/ring-state.ts';
import type { Virtqueue } from '../../../../frontends/virtio/virtq/virtqueue.ts';
import type { DriverRing } from '../../../support/driver-ring.ts';
import { makeRing } from '../../../support/make-ring.ts';
import { wholeMemory } from '../blk/queue-rig.ts';

export const NUM = 8;

/** A ring and the log of its device, both of which outlive any number of devices. */
export class Survivors {
  readonly ring: DriverRing;
  readonly log = new Uint8Array(inFlightLogBytes(NUM));
  readonly view = new DataView(this.log.buffer);
  /** Heads that the driver waits for, in the order in which it made them available. */
  waiting: number[] = [];
  /** Head → bytes of its chain, by which it can be told from others. */
  readonly bytes = new Map<number, number>();
  #added = 0;

  /** `index`: as for the ring builders. */
  constructor(layout: RingLayout, index = 0) {
    this.ring = makeRing(layout, { num: NUM, index, memory: 3 * 4096 });
  }

  get memories(): Uint8Array[] {
    return [this.ring.bytes, this.log];
  }

  device(): Device {
    return new Device(this.ring, this.ring.buffer, this.log);
  }

  /** A chain of some descriptors. */
  add(descriptors = 1): number {
    const bytes = (this.#added++ % 16) + 1;
    const chain = Array.from({ length: descriptors }, () => ({ addr: this.ring.base, len: bytes }));
    const head = this.ring.add(chain);
    this.bytes.set(head, bytes * descriptors);
    this.waiting.push(head);
    return head;
  }

  takeUsed(): void {
    for (const { head } of this.ring.takeAllUsed()) this.waiting.splice(this.waiting.indexOf(head), 1);
  }
}

/** A device on some memory. */
export class Device {
  readonly queue: Virtqueue;
  readonly chain = new Chain(NUM);
  readonly held: number[] = [];

  constructor({ geometry, base }: DriverRing, buffer: ArrayBuffer, log: Uint8Array) {
    const memory = wholeMemory({ base, buffer });
    this.queue = openVirtqueue(geometry, memory, { eventIdx: true, indirect: true }, log);
  }

  /** Takes at most `count` chains; `bytes` tells how long each has to be. */
  pop(count = NUM, bytes?: ReadonlyMap<number, number>): number[] {
    const heads: number[] = [];
    for (let head = 0; heads.length < count; heads.push(head)) {
      head = this.queue.pop(this.chain);
      if (head < 0) break;
      expect(this.chain.defect).toBeUndefined();
      if (bytes) expect(this.chain.readableBytes).toBe(bytes.get(head));
    }
    this.held.push(...heads);
    return heads;
  }

  push(head: number): void {
    this.held.splice(this.held.indexOf(head), 1);
    this.queue.push(head, 1);
  }
}
