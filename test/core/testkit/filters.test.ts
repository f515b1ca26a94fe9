import { describe, it } from 'vitest';
import { type Level, testBackend } from '../../../core/testkit.ts';
import { tempFolder } from '../../support/temp-folder.ts';

/** A disk with a filter is a disk: each is put through what its backend alone would be. */

const entry = (path: string) => new URL(`../../../${path}`, import.meta.url);

/** `config` gets a folder that goes with the test. */
const CASES: readonly [string, string, Level, (folder: string) => object][] = [
  ['readonly', 'readonly.ts', 'L0', () => ({})],
  ['delay', 'delay.ts', 'L2', () => ({ readMs: 0, jitterMs: 0.2 })],
  ['error that never happens', 'error.ts', 'L2', () => ({ rate: 0 })],
  ['log', 'log.ts', 'L2', () => ({})],
  ['stats', 'stats.ts', 'L2', () => ({})],
  ['rate', 'rate.ts', 'L2', () => ({ iops: 1_000_000, bytesPerSecond: '10GiB' })],
  ['cow', 'cow/cow.ts', 'L2', (folder) => ({ file: `${folder}/overlay` })],
  ['cache, writethrough', 'cache/cache.ts', 'L2', () => ({ size: '1MiB', page: '16KiB' })],
  ['cache, writeback', 'cache/cache.ts', 'L2', () => ({ size: '1MiB', mode: 'writeback' })],
  [
    'cache in a file, writethrough',
    'cache/cache.ts',
    'L2',
    (folder) => ({ size: '1MiB', file: `${folder}/cache` }),
  ],
  [
    'cache in a file, writeback',
    'cache/cache.ts',
    'L2',
    (folder) => ({ size: '1MiB', mode: 'writeback', page: '4KiB', file: `${folder}/cache` }),
  ],
];

// Those that keep something themselves have to keep it as long as a file does.
describe.each(['memory', 'file'])('over the backend %s, the filter', (backend) => {
  for (const [title, file, level, config] of CASES.filter(
    ([, file]) => backend === 'memory' || file.includes('/'),
  ))
    testBackend({
      title,
      print: () => undefined,
      entry: entry(`backends/${backend}/index.ts`),
      level,
      runner: { describe, it },
      setup() {
        const folder = tempFolder();
        return {
          config: backend === 'memory' ? { size: '4MiB' } : { path: folder.file('disk.img'), size: '4MiB' },
          filters: [{ entry: entry(`core/filters/${file}`), config: config(folder.path) }],
          [Symbol.asyncDispose]: async () => folder[Symbol.dispose](),
        };
      },
    });
});
