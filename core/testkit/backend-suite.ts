import { basename } from 'node:path';
import { Certificate } from './certificate.ts';
import { NotOffered } from './check.ts';
import { MORE_CHECKS } from './checks-more.ts';
import { READ_CHECKS } from './checks-read.ts';
import { WRITE_CHECKS } from './checks-write.ts';
import { StoreUnderTest } from './opened-disk.ts';
import type { BackendTest, Level } from './test-store.ts';

const LEVELS: readonly Level[] = ['L0', 'L1', 'L2'];

const toStdout = (text: string): unknown => process.stdout.write(`${text}\n`);

/**
 * Puts a backend through what a gateway, a guest and bad luck do to it, and prints a certificate. Every request goes
 * the way of a real one, and the contract is watched on it.
 */
export function testBackend(test: BackendTest): void {
  const { entry, level, runner, title = basename(String(entry)), print = toStdout } = test;
  const claimed = LEVELS.slice(0, LEVELS.indexOf(level) + 1);
  const checks = [...READ_CHECKS, ...WRITE_CHECKS, ...MORE_CHECKS].filter((check) =>
    claimed.includes(check.level),
  );
  const certificate = new Certificate(title, level);
  runner.describe(`${title}, as far as ${level}`, () => {
    for (const check of checks) {
      runner.it(`${check.level}: ${check.title}`, async () => {
        certificate.note(check, 'failed');
        await using store = await StoreUnderTest.make(entry, () => test.setup());
        try {
          await check.run(store);
          certificate.note(check, 'passed');
        } catch (error) {
          if (!(error instanceof NotOffered)) throw error;
          certificate.note(check, { notOffered: error.message });
        }
      });
    }
    runner.it('earns its certificate', async () => {
      const text = certificate.print(checks);
      print(text);
      if (!certificate.isEarned(checks)) throw new Error(text);
    });
  });
}
