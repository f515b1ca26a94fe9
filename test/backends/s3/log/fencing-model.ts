/**
 * The protocol by which a log passes from one writer to the next, as a machine of few states, to be explored whole: a
 * writer A of epoch 1 that may stand still at any moment, and two gateways B and C that take the volume from it and from
 * each other. What is modelled: creation only where nothing is; answers that are lost, and requests that arrive late; the
 * search for the end and its fences; the checkpoint by conditional change of the head, and the deletion of what it condemns.
 */

/** Objects that A wants to write; how many it has on its way at most; names that are fenced at once. */
const OBJECTS = 3;
const IN_FLIGHT = 2;
const WINDOW = 2;
const NAMES = OBJECTS + 2 * WINDOW;

export interface Rules {
  /** A flush is answered only behind an unbroken run of objects. */
  readonly contiguous: boolean;
  /** The first fence of an epoch is never deleted. */
  readonly keepsFence: boolean;
  /** Only what a head of one's own condemns is deleted. */
  readonly condemnsFirst: boolean;
  /** An end that was found counts only if the volume was one's own until then: others may have deleted what was sought. */
  readonly asksAgain: boolean;
}

export const RULES: Rules = {
  contiguous: true,
  keepsFence: true,
  condemnsFirst: true,
  asksAgain: true,
};

const Name = { ABSENT: 0, DATA: 1, FENCE: 2 } as const;
type Name = (typeof Name)[keyof typeof Name];

/** SENT: on its way, or answered with an answer that was lost: it may be carried out at any time, also again. */
const Put = { NONE: 0, SENT: 1, STORED: 2 } as const;
type Put = (typeof Put)[keyof typeof Put];

/**
 * SCANS: it has claimed the volume, and reads names from `at` on. FENCES: the window at `at`; `mask` says which of it are
 * decided. FOUND: it has an end, and asks the head whether the volume is still its own. KNOWS: it is. COLLECTS: its
 * checkpoint counts, and it deletes.
 */
const Phase = { OUTSIDE: 0, SCANS: 1, FENCES: 2, FOUND: 3, KNOWS: 4, COLLECTS: 5 } as const;
type Phase = (typeof Phase)[keyof typeof Phase];

interface Taker {
  readonly phase: Phase;
  readonly epoch: number;
  readonly at: number;
  readonly mask: number;
  readonly end: number;
}

interface State {
  /** Of epoch 1, from sequence 1 on. */
  readonly names: readonly Name[];
  readonly puts: readonly Put[];
  /** A has seen a fence where its object should be. */
  readonly stopped: boolean;
  /** Objects that A has answered flushes for. */
  readonly answered: number;
  readonly headEpoch: number;
  /** Where epoch 1 ends, as the checkpoint in the head says; -1: there is none. */
  readonly headEnd: number;
  readonly takers: readonly [Taker, Taker];
}

const OUTSIDE: Taker = { phase: Phase.OUTSIDE, epoch: 0, at: 0, mask: 0, end: -1 };
const START: State = {
  names: new Array(NAMES).fill(Name.ABSENT),
  puts: new Array(OBJECTS).fill(Put.NONE),
  stopped: false,
  answered: 0,
  headEpoch: 1,
  headEnd: -1,
  takers: [OUTSIDE, OUTSIDE],
};

/** What went wrong, and the number of states that were seen until then. */
export interface Explored {
  readonly states: number;
  readonly problem: string | undefined;
}

export function explore(rules: Rules): Explored {
  const seen = new Set([JSON.stringify(START)]);
  let frontier: State[] = [START];
  while (frontier.length > 0) {
    const next: State[] = [];
    for (const state of frontier) {
      for (const successor of successors(state, rules)) {
        const key = JSON.stringify(successor);
        if (seen.has(key)) continue;
        seen.add(key);
        const problem = violation(successor);
        if (problem !== undefined) return { states: seen.size, problem };
        next.push(successor);
      }
    }
    frontier = next;
  }
  return { states: seen.size, problem: undefined };
}

function violation({ takers, answered, headEnd }: State): string | undefined {
  const ends = takers.filter(({ end }) => end >= 0).map(({ end }) => end);
  if (headEnd >= 0) ends.push(headEnd);
  if (ends.some((end) => end < answered)) return 'a flush was answered that the successor does not find';
  if (new Set(ends).size > 1) return 'two gateways found different ends';
  return undefined;
}

function* successors(state: State, rules: Rules): Generator<State> {
  yield* writer(state, rules);
  for (const which of [0, 1] as const) yield* taker(state, which, rules);
}

const replaced = <T>(list: readonly T[], index: number, value: T): T[] =>
  list.map((old, i) => (i === index ? value : old));

function* writer(state: State, { contiguous }: Rules): Generator<State> {
  const { names, puts, stopped } = state;
  const firstOpen = puts.findIndex((put) => put !== Put.STORED);
  for (const [i, put] of puts.entries()) {
    if (put === Put.NONE && !stopped && i < firstOpen + IN_FLIGHT && (i === 0 || puts[i - 1] !== Put.NONE))
      yield { ...state, puts: replaced(puts, i, Put.SENT) };
    if (put !== Put.SENT) continue;
    if (names[i] === Name.FENCE) yield { ...state, stopped: true };
    else {
      const stored = { ...state, names: replaced(names, i, Name.DATA) };
      // The answer comes, or is lost.
      yield { ...stored, puts: replaced(puts, i, Put.STORED) };
      yield stored;
    }
  }
  if (stopped) return;
  const covered = contiguous ? (firstOpen < 0 ? OBJECTS : firstOpen) : puts.lastIndexOf(Put.STORED) + 1;
  if (covered > state.answered) yield { ...state, answered: covered };
}

function* taker(state: State, which: 0 | 1, rules: Rules): Generator<State> {
  const { names, headEpoch, headEnd, takers } = state;
  const self = takers[which];
  const become = (changed: Partial<Taker>, more: Partial<State> = {}): State => {
    const changedSelf = { ...self, ...changed };
    return { ...state, ...more, takers: which === 0 ? [changedSelf, takers[1]] : [takers[0], changedSelf] };
  };
  switch (self.phase) {
    case Phase.OUTSIDE: {
      const epoch = headEpoch + 1;
      const known = headEnd >= 0;
      yield become({ phase: known ? Phase.KNOWS : Phase.SCANS, epoch, end: headEnd }, { headEpoch: epoch });
      break;
    }
    case Phase.SCANS:
      // Behind what anybody can write there is nothing to find out.
      if (self.at >= NAMES - WINDOW || names[self.at] === Name.ABSENT)
        yield become({ phase: Phase.FENCES, mask: 0, at: Math.min(self.at, NAMES - WINDOW) });
      else if (names[self.at] === Name.FENCE) yield become({ phase: Phase.FOUND, at: self.at });
      else yield become({ at: self.at + 1 });
      break;
    case Phase.FENCES: {
      for (let i = 0; i < WINDOW; i++) {
        if ((self.mask & (1 << i)) !== 0) continue;
        const name = self.at + i;
        const there = names[name] === Name.ABSENT ? replaced(names, name, Name.FENCE) : names;
        yield become({ mask: self.mask | (1 << i) }, { names: there });
      }
      if (self.mask !== 2 ** WINDOW - 1) break;
      const fence = names.findIndex((name, i) => i >= self.at && name === Name.FENCE);
      if (fence >= 0 && fence < self.at + WINDOW) yield become({ phase: Phase.FOUND, at: fence });
      else if (self.at + 2 * WINDOW <= NAMES) yield become({ phase: Phase.SCANS, at: self.at + WINDOW });
      break;
    }
    case Phase.FOUND:
      if (headEpoch === self.epoch || !rules.asksAgain) yield become({ phase: Phase.KNOWS, end: self.at });
      break;
    case Phase.KNOWS:
      // The head changes only for whoever it names.
      if (headEpoch === self.epoch) yield become({ phase: Phase.COLLECTS }, { headEnd: self.end });
      else if (!rules.condemnsFirst) yield become({ phase: Phase.COLLECTS });
      break;
    case Phase.COLLECTS:
      for (const [i, name] of names.entries()) {
        const isFirstFence = i === self.end;
        if (name === Name.ABSENT || (isFirstFence && rules.keepsFence)) continue;
        // What the checkpoint holds, and what never counted.
        yield { ...state, names: replaced(names, i, Name.ABSENT) };
      }
      break;
  }
}
