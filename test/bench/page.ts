import { readFile, writeFile } from 'node:fs/promises';
import { availableParallelism, loadavg } from 'node:os';

const PAGE = new URL('../../docs/benchmarks.md', import.meta.url);

/** Puts a result into docs/benchmarks.md, between the marks of its name; undefined: the first result of all. */
export async function putResult(name: string | undefined, text: string): Promise<void> {
  const title = name === undefined ? 'results' : `results of ${name}`;
  const [begin, end] = [`<!-- ${title} -->`, `<!-- end of ${title} -->`];
  const page = await readFile(PAGE, 'utf8');
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/benchmarks.md has no place between ${begin} and ${end}`);
  await writeFile(PAGE, `${page.slice(0, from)}${begin}\n\n${text}\n\n${page.slice(to)}`);
}

/** The load of the machine before a measurement, which it warns of. */
export function loadBefore(say: (line: string) => void): string {
  const load = loadavg()[0]!;
  if (load > availableParallelism() / 4) say(`the machine is busy (load ${load.toFixed(1)}): expect noise`);
  return load.toFixed(1);
}
