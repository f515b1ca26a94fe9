import { REQUEST_PRICE, storagePrice, transferPrice } from '../../store/prices.ts';
import { BLOCK } from '../object-header.ts';

/** Which objects of the log are worth collecting: a pure function of what is known of them. */

/** Of copies that become one object. Bytes. */
export const COPY_BYTES = 8 * 2 ** 20;
/** What is read of an object with one request, at most. Bytes. */
export const READ_BYTES = 2 * 2 ** 20;
const HOURS_PER_MONTH = 730;

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
export function chooseVictims<C extends Candidate>(candidates: readonly C[], space: Space): C[] {
  const most = space.live * (space.target - checkpointStep(space.target));
  const ranked = candidates
    .filter(({ live, blocks }) => live < blocks)
    .map((candidate) => ({ candidate, worth: worth(candidate) }))
    .sort((a, b) => b.worth - a.worth);
  const victims: C[] = [];
  let { stored } = space;
  for (const { candidate } of ranked) {
    if (stored <= most && storingGarbage(candidate) <= rewriting(candidate)) continue;
    victims.push(candidate);
    stored -= candidate.blocks - candidate.live;
  }
  return victims;
}

/** The root of the age: as much as by the age itself is gained where some blocks are hot, and little is lost where none are. */
const worth = (candidate: Candidate): number =>
  ((candidate.blocks - candidate.live) * Math.sqrt(candidate.age + 1)) / rewriting(candidate);

/** Dollars for reading what is needed of it, and for its part of an object of copies. */
function rewriting({ live, blocks }: Candidate): number {
  const reads = Math.min(live, Math.ceil((blocks * BLOCK) / READ_BYTES));
  const bytes = live * BLOCK;
  return reads * REQUEST_PRICE.GET + (bytes / COPY_BYTES) * REQUEST_PRICE.PUT + transferPrice(2 * bytes);
}

/** Dollars for keeping its garbage until it has died whole, at the rate at which it has lost blocks so far; a month at most. */
function storingGarbage({ live, blocks, hours }: Candidate): number {
  const garbage = blocks - live;
  const months = Math.min(1, (hours * live) / garbage / HOURS_PER_MONTH);
  return storagePrice(garbage * BLOCK, months);
}
