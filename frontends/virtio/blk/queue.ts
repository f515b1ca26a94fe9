// hot path: see ARCHITECTURE.md "Data plane"

import { IoFlag, type IoFlags, type MaybePromise, type Volume } from '../../../core/api/device.ts';
import {
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
} from '../abi/virtio-blk.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC } from '../abi/virtio-ring.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { Chain } from '../virtq/chain.ts';
import { openVirtqueue } from '../virtq/open-virtqueue.ts';
import type { RingState } from '../virtq/ring-state.ts';
import { POP_BROKEN, type Virtqueue } from '../virtq/virtqueue.ts';
import { hasFeature } from './features.ts';
import type { BlkQueueOptions } from './queue-options.ts';
import { EXECUTE, RequestParser, UNANSWERABLE } from './request.ts';
import { Slot } from './slot.ts';
import { statusOf } from './status.ts';
import type { UnflushedWrites } from './unflushed-writes.ts';

/**
 * Work done in one turn of the event loop; then timers, messages and other queues get theirs. A request counts one,
 * and one more for each 32 KiB it moves.
 */
const WORK_PER_TURN = 256;
const WORK_SHIFT = 15;
/**
 * Completions, and bytes of payload, that are collected before the driver sees them. Fewer cost a barrier and perhaps
 * an interrupt each; more make driver and device take turns instead of working at the same time.
 */
const PUBLISH_COMPLETIONS = 8;
const PUBLISH_BYTES = 65536;

/**
 * `running` takes requests; `stopped` completes those it has; `broken` likewise, for a reason; `abandoned` has lost
 * the right to touch guest memory.
 */
type State = 'running' | 'stopped' | 'broken' | 'abandoned';

/** Serves one virtqueue of a block device: takes requests, has the volume carry them out, gives them back. */
export class BlkQueue {
  readonly index: number;
  readonly #options: BlkQueueOptions;
  readonly #memory: GuestMemory;
  readonly #volume: Volume;
  readonly #ring: Virtqueue;
  readonly #parser: RequestParser;
  readonly #chain: Chain;
  /** Slots of requests to come. The last one used comes first: it is still in the processor's cache. */
  readonly #free: Slot[];
  /** By head: 1 from taking it to giving it back. */
  readonly #busy: Uint8Array;
  /** FUA when the driver cannot flush: every write is durable before it completes (VIRTIO 1.3, 5.2.6.2). */
  readonly #writeFlags: IoFlags;
  readonly #unflushed: UnflushedWrites | undefined;
  #state: State = 'running';
  #inFlight = 0;
  #pinned = true;
  #processing = false;
  #continuationPending = false;
  #publicationPending = false;
  #unpublished = 0;
  #unpublishedBytes = 0;
  readonly #drained: (() => void)[] = [];

  /**
   * Throws `virtio.bad-ring` when the rings are unmapped, misaligned or of an impossible size, and
   * `virtio.bad-inflight-log`.
   */
  constructor(options: BlkQueueOptions) {
    const { memory, volume, features, ring } = options;
    this.index = options.index;
    this.#options = options;
    this.#memory = memory;
    this.#volume = volume;
    this.#unflushed = options.unflushed;
    const ringFeatures = {
      eventIdx: hasFeature(features, VIRTIO_F_EVENT_IDX),
      indirect: hasFeature(features, VIRTIO_F_INDIRECT_DESC),
    };
    this.#ring = openVirtqueue(ring, memory, ringFeatures, options.inFlightLog);
    this.#parser = new RequestParser(
      memory,
      options.limits,
      {
        discard: hasFeature(features, VIRTIO_BLK_F_DISCARD),
        writeZeroes: hasFeature(features, VIRTIO_BLK_F_WRITE_ZEROES),
      },
      options.serial,
    );
    this.#chain = new Chain(ring.num);
    this.#free = Array.from({ length: ring.num }, () => new Slot(this.#done, this.#fail));
    this.#busy = new Uint8Array(ring.num);
    this.#writeFlags = volume.caps.flush && !hasFeature(features, VIRTIO_BLK_F_FLUSH) ? IoFlag.FUA : 0;
    memory.pin();
  }

  /** Requests taken and not given back. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** True when nothing is in flight and nothing waits for a later turn: the next thing to happen is a kick. */
  get idle(): boolean {
    return this.#inFlight === 0 && !this.#processing && !this.#continuationPending;
  }

  /** Where a successor of this queue starts; exact once the queue is stopped and drained. */
  get ringState(): RingState {
    return this.#ring.state;
  }

  /** Serves what is available: on a kick, and once after the start, when kicks may have been missed. */
  process(): void {
    if (this.#state !== 'running' || this.#processing || this.#continuationPending) return;
    this.#processing = true;
    try {
      this.#drainRing();
    } catch (cause) {
      this.#break(`serving it failed: ${messageOf(cause)}`, cause);
    } finally {
      this.#processing = false;
    }
    this.#settleIfIdle();
  }

  /** Takes no further request. Those in flight complete, and the driver sees them. */
  stop(): void {
    if (this.#state === 'running') this.#state = 'stopped';
    this.#settleIfIdle();
  }

  /** After a reset by the driver: takes nothing and never touches its memory again; completions are dropped. */
  abandon(): void {
    this.#state = 'abandoned';
    this.#settleIfIdle();
  }

  /** Settles when nothing is in flight, everything is published, and the memory unpinned. Stop or abandon first. */
  drain(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  /** Suppress, take until empty, enable, look again. */
  #drainRing(): void {
    const ring = this.#ring;
    const { spin } = this.#options;
    let budget = WORK_PER_TURN;
    ring.disableKicks();
    spin?.woken();
    while (this.#state === 'running') {
      const head = ring.pop(this.#chain);
      if (head >= 0) {
        const work = this.#take(head);
        if (work === 0) return;
        budget -= work;
        // What a predecessor had in flight is in flight: whoever stops this queue waits for all of it.
        if (budget > 0 || ring.inherited > 0) continue;
        this.#publish();
        this.#continuationPending = true;
        this.#options.schedule(this.#continue);
        return;
      }
      if (head === POP_BROKEN) {
        this.#break(ring.brokenReason ?? 'the ring is corrupt');
        return;
      }
      this.#publish();
      if (spin !== undefined && this.#inFlight === 0 && spin.untilAvailable(ring)) continue;
      if (!ring.enableKicks()) return;
      ring.disableKicks();
    }
    this.#publish();
  }

  readonly #continue = (): void => {
    this.#continuationPending = false;
    this.process();
  };

  /** Returns the work it was, in units of the budget; 0 when the ring is corrupt, and the queue broken. */
  #take(head: number): number {
    if (this.#busy[head] !== 0) {
      this.#break(`the available ring names descriptor ${head} again while its request is in flight`);
      return 0;
    }
    this.#busy[head] = 1;
    this.#inFlight++;
    // There is one: no more are in use than heads are busy.
    const slot = this.#free.pop()!;
    slot.head = head;
    const chain = this.#chain;
    let verdict: number;
    try {
      verdict = this.#parser.parse(chain, slot);
    } catch (error) {
      // Guest memory itself failed, not the guest: the head cannot be given back, but must not be waited for either.
      this.#busy[head] = 0;
      this.#inFlight--;
      this.#free.push(slot);
      throw error;
    }
    // Also of a request that fails: its pages had to be looked for.
    const work = 1 + (slot.length >>> WORK_SHIFT);
    if (verdict === EXECUTE) {
      this.#execute(slot);
      return work;
    }
    this.#refuse(slot, verdict);
    return work;
  }

  #refuse(slot: Slot, verdict: number): void {
    const chain = this.#chain;
    if (verdict === UNANSWERABLE) chain.defect ??= 'there is no writable byte for the status';
    if (chain.defect !== undefined) this.#options.onMalformed?.(chain.defect);
    this.#finish(slot, verdict);
  }

  /** Starts the request, and goes on as long as its steps complete synchronously. */
  #execute(slot: Slot): void {
    try {
      do {
        const pending = this.#step(slot);
        if (pending !== undefined) {
          pending.then(slot.onDone, slot.onFail);
          return;
        }
      } while (slot.rangesStarted < slot.ranges.length);
    } catch (error) {
      this.#fail(slot, error);
      return;
    }
    this.#finish(slot, VIRTIO_BLK_S_OK);
  }

  #step(slot: Slot): MaybePromise<void> {
    switch (slot.type) {
      case VIRTIO_BLK_T_IN:
        return this.#volume.read(slot.offset, slot.iov, 0);
      case VIRTIO_BLK_T_OUT:
        return this.#volume.write(slot.offset, slot.iov, this.#writeFlags);
      case VIRTIO_BLK_T_FLUSH:
        if (this.#unflushed !== undefined) slot.unflushedMark = this.#unflushed.mark;
        return this.#volume.flush(0);
      default:
        return this.#nextRange(slot);
    }
  }

  #nextRange(slot: Slot): MaybePromise<void> {
    const range = slot.ranges[slot.rangesStarted++];
    if (range === undefined) return undefined;
    if (slot.type === VIRTIO_BLK_T_DISCARD) return this.#volume.discard(range.offset, range.length, 0);
    return this.#volume.writeZeroes(range.offset, range.length, range.flags | this.#writeFlags);
  }

  readonly #done = (slot: Slot): void => {
    if (slot.rangesStarted < slot.ranges.length && this.#state !== 'abandoned') this.#execute(slot);
    else this.#finish(slot, VIRTIO_BLK_S_OK);
  };

  readonly #fail = (slot: Slot, error: unknown): void => {
    this.#options.onRequestError?.(error);
    this.#finish(slot, statusOf(error));
  };

  /** Writes the status, last of all, and gives the head back. */
  #finish(slot: Slot, status: number): void {
    this.#busy[slot.head] = 0;
    this.#inFlight--;
    if (this.#state !== 'abandoned') {
      if (status === VIRTIO_BLK_S_OK) {
        if (slot.type === VIRTIO_BLK_T_IN) slot.written = slot.length;
        else if (this.#unflushed !== undefined) this.#noteChange(slot, this.#unflushed);
      }
      slot.statusMapping?.storeByte(slot.statusIova, status);
      this.#ring.push(slot.head, usedLength(slot));
      this.#unpublished++;
      this.#unpublishedBytes += slot.length;
      if (this.#unpublished >= PUBLISH_COMPLETIONS || this.#unpublishedBytes >= PUBLISH_BYTES)
        this.#publish();
      else this.#publishSoon();
    }
    this.#free.push(slot);
    if (this.#inFlight === 0 && !this.#processing) this.#settleIfIdle();
  }

  #noteChange(slot: Slot, unflushed: UnflushedWrites): void {
    if (slot.type === VIRTIO_BLK_T_FLUSH) unflushed.flushed(slot.unflushedMark);
    else if (slot.type !== VIRTIO_BLK_T_GET_ID) unflushed.answered();
  }

  /** Completions that settle in the same turn are published together: their handlers run before this microtask. */
  #publishSoon(): void {
    if (this.#processing || this.#publicationPending) return;
    this.#publicationPending = true;
    queueMicrotask(this.#publishAndSettle);
  }

  readonly #publishAndSettle = (): void => {
    this.#publicationPending = false;
    this.#publish();
    this.#settleIfIdle();
  };

  #publish(): void {
    if (this.#unpublished === 0 || this.#state === 'abandoned') return;
    this.#unpublished = 0;
    this.#unpublishedBytes = 0;
    this.#ring.publish();
    if (!this.#ring.needsInterrupt()) return;
    try {
      this.#options.notify();
    } catch (cause) {
      this.#break(`interrupting the driver failed: ${messageOf(cause)}`, cause);
    }
  }

  #break(reason: string, cause?: unknown): void {
    if (this.#state === 'broken' || this.#state === 'abandoned') return;
    this.#state = 'broken';
    this.#publish();
    this.#options.onBroken(`virtqueue ${this.index} stopped: ${reason}`, cause);
  }

  /** Once nothing can touch guest memory any more, lets go of it; whoever waits for `drain` goes on. */
  #settleIfIdle(): void {
    if (this.#inFlight > 0 || this.#processing) return;
    if (this.#state === 'abandoned') this.#unpublished = 0;
    else this.#publish();
    if (this.#state !== 'running' && this.#pinned) {
      this.#pinned = false;
      this.#memory.unpin();
    }
    if (this.#drained.length > 0) for (const resolve of this.#drained.splice(0)) resolve();
    this.#options.onIdle?.();
  }
}

/**
 * Bytes written, counted from the first writable one (VIRTIO 1.3, 2.7.8.2); may say less than is true, never more.
 * The status byte counts only when the payload before it was filled.
 */
function usedLength(slot: Slot): number {
  if (slot.statusMapping === undefined) return 0;
  return slot.written === slot.writablePayload ? slot.written + 1 : slot.written;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
