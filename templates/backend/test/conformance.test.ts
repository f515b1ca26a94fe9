import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { testBackend } from 'blockgate/testkit';

/** Everything that a gateway, a guest and bad luck do to a backend. Ends with a certificate. */
testBackend({
  title: '__NAME__',
  entry: new URL('../src/index.ts', import.meta.url),
  level: 'L2',
  runner: { describe, it },
  async setup() {
    const folder = await mkdtemp(join(tmpdir(), '__NAME__-'));
    return {
      config: { path: join(folder, 'disk.img'), size: '16MiB' },
      [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
    };
  },
});
