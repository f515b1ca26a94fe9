import { readFile, writeFile } from 'node:fs/promises';
import { availableParallelism, loadavg } from 'node:os';

const PAGE = new URL('../../docs/benchmarks.md', import.meta.url);

interface Place {
  readonly before: string;
  readonly between: string;
  readonly after: string;
}

async function find(name: string | undefined): Promise<Place> {
  const title = name === undefined ? 'results' : `results of ${name}`;
  const [begin, end] = [`<!-- ${title} -->`, `<!-- end of ${title} -->`];
  const page = await readFile(PAGE, 'utf8');
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/benchmarks.md has no place between ${begin} and ${end}`);
  const start = from + begin.length;
  return { before: page.slice(0, start), between: page.slice(start, to), after: page.slice(to) };
}

/** Puts a result into docs/benchmarks.md, between the marks of its name; undefined: the first result of all. */
export async function putResult(name: string | undefined, text: string): Promise<void> {
  const { before, after } = await find(name);
  await writeFile(PAGE, `${before}\n\n${text}\n\n${after}`);
}

/** A Markdown table whose lines are measured one by one. */
export interface Table {
  /** What comes before it: of the machine, and of what is the same in all lines. */
  readonly text: string;
  /** Its two first lines. */
  readonly header: string;
  /** First cells of all its lines, in order. */
  readonly titles: readonly string[];
  /** The other cells of those that were measured. */
  readonly cells: ReadonlyMap<string, string>;
}

/** The lines that were measured; of the others those of `old`, if it was measured on the same machine. */
export function renderTable({ text, header, titles, cells }: Table, old = ''): string {
  const before = old.trim().startsWith(`${text}\n`) ? old.split('\n') : [];
  const lines = titles.flatMap((title) => {
    const measured = cells.get(title);
    if (measured !== undefined) return [`| ${title} | ${measured} |`];
    return before.filter((line) => line.startsWith(`| ${title} |`));
  });
  return [text, '', header, ...lines].join('\n');
}

/** Puts what was measured into docs/benchmarks.md, and leaves the lines of what was not: see `renderTable`. */
export async function putTable(name: string, table: Table): Promise<void> {
  await putResult(name, renderTable(table, (await find(name)).between));
}

/** The load of the machine before a measurement, which it warns of. */
export function loadBefore(say: (line: string) => void): string {
  const load = loadavg()[0]!;
  if (load > availableParallelism() / 4) say(`the machine is busy (load ${load.toFixed(1)}): expect noise`);
  return load.toFixed(1);
}
