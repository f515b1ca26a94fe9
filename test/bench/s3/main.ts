import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { count, positive } from '../numbers.ts';
import { loadBefore, putResult } from '../page.ts';
import { summarize } from '../statistics.ts';
import { ROWS, type Row } from './rows.ts';

const USAGE = `Usage: npm run bench:s3 -- [options]

Measures volumes with the layout "log" on the embedded S3 server, in a process of its own that lets every request wait.
Ends with status 1 when a target is missed.

  --repetitions N   measurements per row (3)
  --seconds S       length of one (4)
  --only TEXT       only the rows whose title contains it
  --write           put the result into docs/benchmarks.md
`;

interface Result {
  readonly row: Row;
  readonly values: readonly number[];
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      repetitions: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '4' },
      only: { type: 'string', default: '' },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const load = loadBefore(say);
  const repetitions = count('repetitions', values.repetitions);
  const seconds = positive('seconds', values.seconds);
  const results: Result[] = [];
  for (const row of ROWS.filter(({ what }) => what.includes(values.only))) {
    const measured: number[] = [];
    for (let i = 0; i < repetitions; i++) measured.push(await row.measure(seconds));
    results.push({ row, values: measured });
    say(line({ row, values: measured }));
  }
  const text = [
    `- Machine: ${cpus().length} × ${cpus()[0]!.model}; Node ${process.version}`,
    `- Runs: ${repetitions} per row, of ${seconds} s where a rate is measured; load of the machine ${load} before`,
    '',
    '| | measured: median [least..most] | target |',
    '|---|---|---|',
    ...results.map(line),
  ].join('\n');
  process.stdout.write(`\n${text}\n`);
  if (values.write) await putResult('s3', text);
  return results.every(isOnTarget) ? 0 : 1;
}

function isOnTarget({ row: { floor, isMost }, values }: Result): boolean {
  const { median } = summarize(values);
  return isMost ? median <= floor : median >= floor;
}

function line(result: Result): string {
  const { what, unit, floor, isMost } = result.row;
  const { median, min, max } = summarize(result.values);
  const show = (value: number): string => (value < 10 ? value.toFixed(2) : value.toFixed(0));
  const verdict = isOnTarget(result) ? 'met' : '**missed**';
  return `| ${what} | ${show(median)} ${unit} [${show(min)}..${show(max)}] | ${isMost ? '≤' : '≥'} ${floor} ${verdict} |`;
}

function say(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

process.exitCode = await main();
