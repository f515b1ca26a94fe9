import type { RingState } from '../../frontends/virtio/virtq/ring-state.ts';
import type { RingGeometry } from '../../frontends/virtio/virtq/virtqueue.ts';
import type { ChainPlan } from './chain-plan.ts';

/** What the driver chose, as far as a ring looks different for it. */
export interface GuestRingFeatures {
  readonly eventIdx: boolean;
  readonly indirect: boolean;
}

/** What a guest without manners does to a ring, whatever its layout; and how the ring must look for all that. */
export interface RingGuest {
  readonly layout: RingState['layout'];
  readonly sizes: readonly number[];
  /** It has done to the ring what drivers do, and nothing else, since the reset; the chains may be anything. */
  readonly honest: boolean;
  /** What the transport tells the device. */
  readonly geometry: RingGeometry;
  /** Sets up a ring of `num` entries, in use since long ago. */
  reset(num: number, features: GuestRingFeatures): void;
  /** Sets up a ring that cannot be used, or hardly. */
  resetBadly(): void;
  /** Writes a chain into the ring, and makes it available. */
  offer(plan: ChainPlan): void;
  /** Does something to the ring that no driver does. */
  scribble(): void;
  /** Makes one more chain available, whatever is in its place. */
  hurry(): void;
  /** True when a device that took `count` chains must not believe what it sees next. */
  isTooFarAhead(count: number): boolean;
  /** The device has given `head` back, as its `nth`: what is wrong with that in the ring, if anything. */
  checkUsed(head: number, nth: number): string | undefined;
  /** The device has published `count` chains since the reset, and nothing more: what is wrong, if anything. */
  checkPublished(count: number): string | undefined;
  /** The device has written only where it may: what is wrong, if anything. */
  checkIntact(): string | undefined;
  /** `state` is where a device stands that took `count` chains and stopped for `reason`: what is wrong, if anything. */
  checkState(state: RingState, count: number, reason: string | undefined): string | undefined;
}
