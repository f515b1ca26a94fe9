import { describe, it } from 'vitest';
import { testBackend } from '../../../core/testkit.ts';
import { tempFolder } from '../../support/temp-folder.ts';

/** The backends that come with blockgate, and that need nothing but this machine. */

const runner = { describe, it };
const entry = (path: string) => new URL(`../../../${path}`, import.meta.url);

testBackend({
  title: 'memory',
  entry: entry('backends/memory/index.ts'),
  level: 'L2',
  runner,
  setup: () => ({ config: { size: '4MiB' } }),
});

for (const direct of [false, true])
  testBackend({
    title: direct ? 'file, direct' : 'file',
    entry: entry('backends/file/index.ts'),
    level: 'L2',
    runner,
    setup() {
      const folder = tempFolder();
      return {
        config: { path: folder.file('disk.img'), size: '16MiB', direct },
        [Symbol.asyncDispose]: async () => folder[Symbol.dispose](),
      };
    },
  });
