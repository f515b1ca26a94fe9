import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url));
/** What plugins import is not built here. */
const resolve = {
  alias: {
    'blockgate/plugin': source('./core/plugin.ts'),
    'blockgate/testkit': source('./core/testkit.ts'),
  },
};

const common = { pool: 'forks', testTimeout: 60_000, hookTimeout: 60_000 } as const;

/**
 * unit: seconds, needs nothing installed. integration: real servers, each started by the test that needs it.
 * kernel: the real VDUSE kernel in the test VM; one VM at a time, since two cores carry it. In this order, one after
 * the other: what is quick fails first, and nothing takes the VM's processor.
 */
export default defineConfig({
  test: {
    projects: [
      {
        resolve,
        test: {
          ...common,
          name: 'unit',
          sequence: { groupOrder: 0 },
          include: ['test/**/*.test.ts'],
          exclude: ['test/integration/**', 'test/kernel/**', 'test/bench/**', 'test/fixtures/**'],
        },
      },
      {
        test: {
          ...common,
          name: 'integration',
          sequence: { groupOrder: 1 },
          include: ['test/integration/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          ...common,
          name: 'kernel',
          sequence: { groupOrder: 2 },
          include: ['test/kernel/**/*.test.ts'],
          testTimeout: 900_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
