import { describe, it } from 'vitest';
import { testBackend } from '../../core/testkit.ts';
import { tempFolder } from '../support/temp-folder.ts';

/** The examples are put through what every backend is. */

const runner = { describe, it };
const entry = (path: string) => new URL(`../../examples/${path}`, import.meta.url);

testBackend({
  entry: entry('01-constant/constant.ts'),
  level: 'L0',
  runner,
  setup: () => ({ config: { byte: 42, size: '64MiB' } }),
});

testBackend({
  entry: entry('02-memory-package/ram.ts'),
  level: 'L2',
  runner,
  setup: () => ({ config: { size: '4MiB' } }),
});

testBackend({
  entry: entry('04-sqlite/sqlite.ts'),
  level: 'L2',
  runner,
  setup() {
    const folder = tempFolder();
    return {
      config: { path: folder.file('disk.db'), size: '4MiB' },
      [Symbol.asyncDispose]: async () => folder[Symbol.dispose](),
    };
  },
});
