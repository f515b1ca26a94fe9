import { type Prices, pricePerGib, requestPrice, S3_STANDARD } from '../../store/prices.ts';
import { BLOCK } from '../object-header.ts';

/** Which objects of the log are worth collecting: a pure function of what is known of them. */

/** Of copies that become one object. Bytes. */
export const COPY_BYTES = 8 * 2 ** 20;
/** What is read of an object with one request, at most. Bytes. */
export const READ_BYTES = 2 * 2 ** 20;
const HOURS_PER_MONTH = 730;
/**
 * What it is worth not to move a GiB, also where nobody charges for that: it takes bandwidth from the disk. Dollars, half of
 * what AWS takes between zones.
 */
const BANDWIDTH = 0.005;

export interface Candidate {
  /** Blocks that it occupies, and those of them that are needed. */
  readonly blocks: number;
  readonly live: number;
  /** Blocks that were stored since its content was written. */
  readonly age: number;
  /** How long it has been there. Hours. */
  readonly hours: number;
}

export interface Space {
  /** Blocks that the objects occupy that may be collected, and those of them that are needed. */
  readonly stored: number;
  readonly live: number;
  /** What they may occupy for each block that is needed. */
  readonly target: number;
}

/**
 * So much more garbage, of what is in use, brings about the next checkpoint and a look at what is to be collected: a quarter
 * of what is allowed, since a checkpoint writes the whole map. A collection leaves as much room, so that the target is kept
 * in between as well.
 */
export const checkpointStep = (target: number): number => (target - 1) / 4;

/**
 * What to collect, best first. As many as the target demands; beyond that, those whose garbage costs more to keep than the
 * rest to write anew. What is best is decided as by a log-structured file system: the space that is freed, weighted by the age
 * of what is left (old blocks stay, young ones may die by themselves before long), for the cost of moving that.
 */
export function chooseVictims<C extends Candidate>(
  candidates: readonly C[],
  space: Space,
  prices: Prices,
): C[] {
  const efforts = effortsAt(prices);
  const most = space.live * (space.target - checkpointStep(space.target));
  const ranked = candidates
    .filter(({ live, blocks }) => live < blocks)
    .map((candidate) => ({ candidate, worth: worth(candidate, efforts) }))
    .sort((a, b) => b.worth - a.worth);
  const victims: C[] = [];
  let { stored } = space;
  for (const { candidate } of ranked) {
    if (stored <= most && storingGarbage(candidate, prices) <= rewriting(candidate, efforts)) continue;
    victims.push(candidate);
    stored -= candidate.blocks - candidate.live;
  }
  return victims;
}

/** The root of the age: as much as by the age itself is gained where some blocks are hot, and little is lost where none are. */
const worth = (candidate: Candidate, efforts: Efforts): number =>
  ((candidate.blocks - candidate.live) * Math.sqrt(candidate.age + 1)) / rewriting(candidate, efforts);

/** Dollars: for a request, and for a GiB. */
interface Efforts {
  readonly get: number;
  readonly put: number;
  readonly received: number;
  readonly sent: number;
}

/** What the store charges, but nothing is free: a request takes at least as much from the disk as S3 charges for it. */
const effortsAt = (prices: Prices): Efforts => ({
  get: Math.max(requestPrice('GET', prices), requestPrice('GET', S3_STANDARD)),
  put: Math.max(requestPrice('PUT', prices), requestPrice('PUT', S3_STANDARD)),
  received: Math.max(prices.transferOut, BANDWIDTH),
  sent: Math.max(prices.transferIn, BANDWIDTH),
});

/** Dollars for reading what is needed of it, and for its part of an object of copies. */
function rewriting({ live, blocks }: Candidate, { get, put, received, sent }: Efforts): number {
  const reads = Math.min(live, Math.ceil((blocks * BLOCK) / READ_BYTES));
  const bytes = live * BLOCK;
  return reads * get + (bytes / COPY_BYTES) * put + pricePerGib(bytes, received + sent);
}

/** Dollars for keeping its garbage until it has died whole, at the rate at which it has lost blocks so far; a month at most. */
function storingGarbage({ live, blocks, hours }: Candidate, { storage }: Prices): number {
  const garbage = blocks - live;
  const months = Math.min(1, (hours * live) / garbage / HOURS_PER_MONTH);
  return pricePerGib(garbage * BLOCK, storage) * months;
}
