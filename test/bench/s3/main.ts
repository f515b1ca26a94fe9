import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { count, positive } from '../numbers.ts';
import { loadBefore, putTable } from '../page.ts';
import type { Lengths, Row } from './measure.ts';
import { ROWS } from './rows.ts';
import { compare, isBehind, tableOf as tableOfDuels } from './s3backer/compare.ts';
import { DUELS } from './s3backer/duels.ts';
import { cellsOf, isOnTarget, print, type Result, tableOf } from './table.ts';

const USAGE = `Usage: npm run bench:s3 -- [options]

Measures volumes with the layout "log" on a store that lets every request wait; then the same things, as root, beside
s3backer on the embedded S3 server, which lets every request wait as well. Ends with status 1 when a target is missed, or
s3backer is ahead.

  --repetitions N   measurements per row (3)
  --seconds S       length of one (4)
  --outage S        for how long the store is away in P24 (10)
  --latency MS      of the store beside s3backer (20)
  --only TEXT       only the rows whose title contains it; "s3backer": those beside s3backer
  --write           put the rows that were measured into docs/benchmarks.md
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      repetitions: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '4' },
      outage: { type: 'string', default: '10' },
      latency: { type: 'string', default: '20' },
      only: { type: 'string', default: '' },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const { only } = values;
  const repetitions = count('repetitions', values.repetitions);
  const seconds = positive('seconds', values.seconds);
  const latency = count('latency', values.latency);
  const lengths = { seconds, outage: positive('outage', values.outage) };
  const machine = `- Machine: ${cpus().length} × ${cpus()[0]!.model}; Node ${process.version}`;

  const results = await measure(
    ROWS.filter(({ what }) => what.includes(only)),
    repetitions,
    lengths,
  );
  if (results.length > 0) {
    const table = tableOf(machine, ROWS, results);
    print(table);
    if (values.write) await putTable('s3', table);
  }

  const duels = DUELS.filter(({ lines }) => lines.some(({ what }) => `s3backer: ${what}`.includes(only)));
  const comparisons = await compare(duels, { repetitions, seconds, latency, say });
  if (comparisons.length > 0) {
    const table = tableOfDuels(`${machine}; requests of ${latency} ms`, DUELS, comparisons);
    print(table);
    if (values.write) await putTable('s3backer', table);
  }
  return results.every(isOnTarget) && !comparisons.some(isBehind) ? 0 : 1;
}

async function measure(rows: readonly Row[], repetitions: number, lengths: Lengths): Promise<Result[]> {
  const results: Result[] = [];
  for (const row of rows) {
    const load = loadBefore(say);
    const values: number[] = [];
    for (let i = 0; i < repetitions; i++) values.push(await row.measure(lengths));
    const result = { row, values, load };
    results.push(result);
    say(`${row.what}: ${cellsOf(result)}`);
  }
  return results;
}

function say(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

// What was started is ended at exit.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
process.exitCode = await main();
