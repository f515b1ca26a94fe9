import type { Extent, IoFlags, IoVec, MaybePromise, Volume } from '../../core/api/device.ts';
import { BlockError } from '../../core/api/errors.ts';
import type { UnflushedWrites } from '../virtio/blk/unflushed-writes.ts';

/**
 * A volume some of whose writes were lost with the process that had answered them. Its driver takes them for written, and
 * so does whoever has mounted the disk: going on would mix what is lost with what is not. So every request fails until
 * the driver has let go of the device, which also forgets what it has cached.
 */
export class LostWrites implements Volume {
  readonly name: string;
  readonly caps: Volume['caps'];
  readonly limits: Volume['limits'];
  readonly #volume: Volume;
  readonly #unflushed: UnflushedWrites;
  #failing = true;

  constructor(volume: Volume, unflushed: UnflushedWrites) {
    this.name = volume.name;
    this.caps = volume.caps;
    this.limits = volume.limits;
    this.#volume = volume;
    this.#unflushed = unflushed;
  }

  /** True until the driver has let go of the device. */
  get failing(): boolean {
    // Nothing is answered before that, so only a driver's reset can have cleared it.
    if (this.#failing && !this.#unflushed.any) this.#failing = false;
    return this.#failing;
  }

  get size(): number {
    return this.#volume.size;
  }

  get inFlight(): number {
    return this.#volume.inFlight;
  }

  read(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    this.#check();
    return this.#volume.read(offset, iov, flags);
  }

  write(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    this.#check();
    return this.#volume.write(offset, iov, flags);
  }

  flush(flags: IoFlags): MaybePromise<void> {
    this.#check();
    return this.#volume.flush(flags);
  }

  discard(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    this.#check();
    return this.#volume.discard(offset, length, flags);
  }

  writeZeroes(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    this.#check();
    return this.#volume.writeZeroes(offset, length, flags);
  }

  extents(offset: number, length: number): MaybePromise<readonly Extent[]> {
    return this.#volume.extents(offset, length);
  }

  prefetch(offset: number, length: number): MaybePromise<void> {
    this.#check();
    return this.#volume.prefetch(offset, length);
  }

  drain(): Promise<void> {
    return this.#volume.drain();
  }

  #check(): void {
    if (this.failing)
      throw new BlockError(
        'EIO',
        'writes were lost with an earlier process: stop the disk, and start it again',
      );
  }
}
