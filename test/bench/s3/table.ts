import { renderTable, type Table } from '../page.ts';
import { summarize } from '../statistics.ts';
import type { Row } from './measure.ts';

export interface Result {
  readonly row: Row;
  readonly values: readonly number[];
  /** Of the machine, before. */
  readonly load: string;
}

const HEADER = [
  '| | measured: median [least..most] | target | goal | peer | runs, load |',
  '|---|---|---|---|---|---|',
].join('\n');
const PEER = '[s3backer](#beside-s3backer)';

export const show = (value: number): string => (Math.abs(value) < 10 ? value.toFixed(2) : value.toFixed(0));

/** Median, with the smallest and the largest in brackets. */
export function range(values: readonly number[], unit: string): string {
  const { median, min, max } = summarize(values);
  return `${show(median)} ${unit} [${show(min)}..${show(max)}]`;
}

const reaches = ({ row: { isMost }, values }: Result, bound: number): boolean => {
  const { median } = summarize(values);
  return isMost ? median <= bound : median >= bound;
};

export const isOnTarget = (result: Result): boolean => reaches(result, result.row.target);

export function cellsOf(result: Result): string {
  const { row, values, load } = result;
  const sign = row.isMost ? '≤' : '≥';
  return [
    range(values, row.unit),
    `${sign} ${row.target} ${isOnTarget(result) ? 'met' : '**missed**'}`,
    `${sign} ${row.goal}${reaches(result, row.goal) ? ' met' : ''}`,
    row.hasPeer ? PEER : '',
    `${values.length}, ${load}`,
  ].join(' | ');
}

export function tableOf(text: string, rows: readonly Row[], results: readonly Result[]): Table {
  return {
    text,
    header: HEADER,
    titles: rows.map(({ what }) => what),
    cells: new Map(results.map((result) => [result.row.what, cellsOf(result)])),
  };
}

export const print = (table: Table): void => void process.stdout.write(`\n${renderTable(table)}\n`);
