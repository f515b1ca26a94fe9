import type { Extent, ResolvedCaps, ResolvedLimits, Volume } from '../../../../core/api/device.ts';
import { resolve } from '../../../../core/block/resolve.ts';
import { DiskVolume } from '../../../../core/block/volume.ts';
import { offeredFeatures } from '../../../../frontends/virtio/blk/features.ts';
import { type BlkLimits, blkLimits } from '../../../../frontends/virtio/blk/limits.ts';
import { BlkQueue } from '../../../../frontends/virtio/blk/queue.ts';
import type { BlkQueueOptions } from '../../../../frontends/virtio/blk/queue-options.ts';
import { GuestMemory } from '../../../../frontends/virtio/memory/guest-memory.ts';
import { Access, Mapping } from '../../../../frontends/virtio/memory/mapping.ts';
import type { RingLayout } from '../../../../frontends/virtio/virtq/ring-state.ts';
import { BlkDriver } from '../../../support/blk-driver.ts';
import type { DriverRing, RingBuilderOptions } from '../../../support/driver-ring.ts';
import { FakeDevice, MemoryLogger } from '../../../support/fake-device.ts';
import { makeRing } from '../../../support/make-ring.ts';
import { PackedRingBuilder } from '../../../support/packed-ring-builder.ts';
import { RingBuilder } from '../../../support/ring-builder.ts';

export interface RigOptions extends RingBuilderOptions {
  /** Default split. */
  readonly layout?: RingLayout;
  /** The ring of an earlier queue. Default: a new one. */
  readonly ring?: DriverRing;
  /** Bytes of the disk. Default 1 MiB. */
  readonly size?: number;
  readonly readOnly?: boolean;
  /** Bytes at the end of the driver's memory that the device may only read. Default 0. */
  readonly readOnlyTail?: number;
  /** Feature bits the driver leaves out. */
  readonly without?: readonly number[];
  readonly queue?: Partial<BlkQueueOptions>;
}

/** A block queue with a driver on one side and a disk in memory on the other. */
export class QueueRig {
  readonly ring: DriverRing;
  readonly driver: BlkDriver;
  readonly memory: GuestMemory;
  readonly device: FakeDevice;
  readonly volume: DiskVolume;
  readonly limits: BlkLimits;
  readonly queue: BlkQueue;
  readonly broken: string[] = [];
  readonly malformed: string[] = [];
  readonly errors: unknown[] = [];
  /** Continuations the queue has asked for. */
  readonly scheduled: (() => void)[] = [];
  interrupts = 0;

  constructor(options: RigOptions = {}) {
    const { size = 2 ** 20, readOnly = false, without = [], eventIdx = true, layout = 'split' } = options;
    this.ring = options.ring ?? makeRing(layout, options);
    this.driver = new BlkDriver(this.ring);
    this.device = new FakeDevice({ size, caps: { readOnly, concurrency: 'parallel' } });
    this.volume = new DiskVolume('rig', resolve(this.device, 'fake'), new MemoryLogger());
    this.memory = wholeMemory(this.ring, options.readOnlyTail);
    let features = offeredFeatures(this.volume.caps, { layout, eventIdx, indirect: true });
    for (const bit of without) features &= ~(1n << BigInt(bit));
    this.limits = blkLimits(this.volume.caps, this.volume.limits, this.ring.num);
    this.queue = new BlkQueue({
      index: 0,
      ring: this.ring.geometry,
      memory: this.memory,
      volume: this.volume,
      features,
      serial: 'rig-0',
      limits: this.limits,
      notify: () => void this.interrupts++,
      schedule: (fn) => void this.scheduled.push(fn),
      onBroken: (reason) => void this.broken.push(reason),
      onMalformed: (defect) => void this.malformed.push(defect),
      onRequestError: (error) => void this.errors.push(error),
      ...options.queue,
    });
  }

  /** The ring, if it is a split one. */
  get split(): RingBuilder {
    if (this.ring instanceof RingBuilder) return this.ring;
    throw new Error('the ring is packed');
  }

  /** The ring, if it is a packed one. */
  get packed(): PackedRingBuilder {
    if (this.ring instanceof PackedRingBuilder) return this.ring;
    throw new Error('the ring is split');
  }

  /** Processes until the queue asks for no more turns. */
  run(): void {
    this.queue.process();
    for (let next = this.scheduled.shift(); next; next = this.scheduled.shift()) next();
  }
}

/** A device that can do everything, and has no limits. */
export const CAPS: ResolvedCaps = {
  write: true,
  flush: true,
  discard: true,
  writeZeroes: 'native',
  fua: 'emulate',
  extents: false,
  prefetch: false,
  concurrency: 'parallel',
  volatile: false,
  writeCache: 'none',
};
export const LIMITS: ResolvedLimits = {
  blockSize: 512,
  physicalBlockSize: 512,
  optimalIoSize: 0,
  maxIo: Number.MAX_SAFE_INTEGER,
  maxSegments: Number.MAX_SAFE_INTEGER,
  maxDiscard: Number.MAX_SAFE_INTEGER,
  discardGranularity: 512,
};

/** A disk that does nothing, at once: what is measured with it is the queue. */
export class NullVolume implements Volume {
  readonly name = 'null';
  readonly size = 2 ** 40;
  readonly caps = CAPS;
  readonly limits = LIMITS;
  readonly inFlight = 0;
  read(): void {}
  write(): void {}
  flush(): void {}
  discard(): void {}
  writeZeroes(): void {}
  extents(): Extent[] {
    return [];
  }
  prefetch(): void {}
  async drain(): Promise<void> {}
}

/** Bytes that tell where they belong. */
export const pattern = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8) + seed) & 0xff);

/** A ring builder's memory: one region, and a second that may only be read where `readOnlyTail` says so. */
export function wholeMemory(ring: Pick<DriverRing, 'base' | 'buffer'>, readOnlyTail = 0): GuestMemory {
  const { base, buffer } = ring;
  const length = buffer.byteLength - readOnlyTail;
  const regions = [
    new Mapping({ iova: base, length, access: Access.READ_WRITE, buffer }),
    new Mapping({
      iova: base + length,
      length: readOnlyTail,
      access: Access.READ,
      buffer,
      offset: length,
      unmap: () => undefined,
    }),
  ];
  return new GuestMemory((iova) => regions.find((region) => iova >= region.iova && iova < region.end));
}
