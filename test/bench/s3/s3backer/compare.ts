import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureDebianPackages } from '../../../../core/vm/debian-packages.ts';
import { loadBefore, type Table } from '../../page.ts';
import { summarize } from '../../statistics.ts';
import { range } from '../table.ts';
import { Blockgate, S3backer } from './contenders.ts';
import type { Duel, Outcome } from './duels.ts';
import { CountingServer } from './server.ts';

type Line = Duel['lines'][number];

/** What both did, in pairs that ran one right after the other. */
export interface Comparison {
  readonly line: Line;
  readonly ours: readonly Outcome[];
  readonly theirs: readonly Outcome[];
  readonly load: string;
}

export interface CompareOptions {
  readonly repetitions: number;
  readonly seconds: number;
  /** Of each request to the store. Milliseconds. */
  readonly latency: number;
  readonly say: (line: string) => void;
}

/** Measures; installs what it needs. */
export async function compare(
  duels: readonly Duel[],
  options: CompareOptions,
): Promise<readonly Comparison[]> {
  const { repetitions, say } = options;
  if (duels.length === 0) return [];
  await ensureDebianPackages(['s3backer', 'libnbd-bin', 'fio', 'e2fsprogs'], say);
  const comparisons: Comparison[] = [];
  for (const duel of duels) {
    const load = loadBefore(say);
    const [ours, theirs]: [(readonly Outcome[])[], (readonly Outcome[])[]] = [[], []];
    for (let i = 0; i < repetitions; i++) {
      const first = async (): Promise<unknown> => ours.push(await fight(duel, 'blockgate', options));
      const second = async (): Promise<unknown> => theirs.push(await fight(duel, 's3backer', options));
      for (const one of i % 2 === 0 ? [first, second] : [second, first]) await one();
    }
    for (const [i, line] of duel.lines.entries()) {
      const comparison = {
        line,
        load,
        ours: ours.map((run) => run[i]!),
        theirs: theirs.map((run) => run[i]!),
      };
      comparisons.push(comparison);
      say(`${line.what}: ${cellsOf(comparison)}`);
    }
  }
  return comparisons;
}

/** On a new disk in a new store. */
async function fight(
  duel: Duel,
  who: 'blockgate' | 's3backer',
  { seconds, latency }: CompareOptions,
): Promise<readonly Outcome[]> {
  const folder = await mkdtemp(join(tmpdir(), 'blockgate-bench-'));
  try {
    const [own, work] = [join(folder, 'own'), join(folder, 'work')];
    await mkdir(own);
    await mkdir(work);
    await using server = await CountingServer.start(latency);
    const place = { server, folder: own, size: duel.size };
    await using contender = who === 'blockgate' ? new Blockgate(place) : new S3backer(place, duel.theirs);
    return await duel.fight({ contender, traffic: () => server.traffic(), folder: work, seconds });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** How many times as good, of each pair. */
function ratios({ line, ours, theirs }: Comparison): number[] {
  return ours.map(({ value }, i) => {
    const [more, less] = line.isMost ? [theirs[i]!.value, value] : [value, theirs[i]!.value];
    return more === less ? 1 : more / less;
  });
}

/** Closer than this they are level. */
const CLOSE = 1.05;

export const isBehind = (comparison: Comparison): boolean => summarize(ratios(comparison)).median < 1 / CLOSE;

function verdictOf(comparison: Comparison): string {
  if (isBehind(comparison)) return '**behind**';
  return summarize(ratios(comparison)).median > CLOSE ? 'ahead' : 'level';
}

const HEADER = [
  '| | blockgate | s3backer | ratio | blockgate: requests, sent, received | s3backer | runs, load |',
  '|---|---|---|---|---|---|---|',
].join('\n');

function cellsOf(comparison: Comparison): string {
  const { line, ours, theirs, load } = comparison;
  const { median, min, max } = summarize(ratios(comparison));
  const ratio = (value: number): string => (value === Number.POSITIVE_INFINITY ? '∞' : value.toFixed(2));
  return [
    range(
      ours.map(({ value }) => value),
      line.unit,
    ),
    range(
      theirs.map(({ value }) => value),
      line.unit,
    ),
    `**${ratio(median)}** [${ratio(min)}..${ratio(max)}] ${verdictOf(comparison)}`,
    traffic(line, ours),
    traffic(line, theirs),
    `${ours.length}, ${load}`,
  ].join(' | ');
}

/** Per operation. */
function traffic({ per }: Line, outcomes: readonly Outcome[]): string {
  const each = (of: keyof Outcome['traffic']): number =>
    summarize(outcomes.map(({ traffic: found, operations }) => found[of] / operations)).median;
  const requests = each('requests');
  const parts = [
    requests < 10 ? requests.toFixed(2) : requests.toFixed(0),
    kib(each('sent')),
    kib(each('received')),
  ];
  return `${parts.join(', ')} per ${per}`;
}

function kib(bytes: number): string {
  if (bytes >= 2 ** 20) return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  return `${(bytes / 1024).toFixed(1)} KiB`;
}

export function tableOf(text: string, duels: readonly Duel[], comparisons: readonly Comparison[]): Table {
  return {
    text,
    header: HEADER,
    titles: duels.flatMap(({ lines }) => lines.map(({ what }) => what)),
    cells: new Map(comparisons.map((comparison) => [comparison.line.what, cellsOf(comparison)])),
  };
}
