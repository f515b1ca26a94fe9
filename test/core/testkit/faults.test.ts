import { describe, expect, it } from 'vitest';
import { testBackend } from '../../../core/testkit.ts';
import { tempFolder } from '../../support/temp-folder.ts';

/** A kit that passes everything is worth nothing: each of these backends has to fail, and where it should. */

interface Collected {
  readonly name: string;
  readonly run: () => Promise<void>;
}

/** Title of the first test that fails. */
async function firstFailure(fault: string): Promise<string | undefined> {
  const tests: Collected[] = [];
  testBackend({
    title: fault,
    print: () => undefined,
    entry: new URL('./fixtures/faulty.ts', import.meta.url),
    level: 'L2',
    runner: { describe: (_name, body) => body(), it: (name, run) => tests.push({ name, run }) },
    setup() {
      const folder = tempFolder();
      return {
        config: { path: folder.file('disk'), fault },
        [Symbol.asyncDispose]: async () => folder[Symbol.dispose](),
      };
    },
  });
  for (const { name, run } of tests) {
    try {
      await run();
    } catch {
      return name;
    }
  }
  return undefined;
}

describe('the testkit', () => {
  it('finds nothing in a backend without a fault', async () => {
    expect(await firstFailure('none')).toBeUndefined();
  });

  it.each([
    ['reads too little', 'reads the first block'],
    ['reads the wrong place', 'reads what was written'],
    ['writes into a read that is over', 'reads what was written'],
    ['throws what it likes', 'reads the first block'],
    ['settles with a value', 'reads the first block'],
    ['keeps what it borrowed', 'reads what was written'],
    ['writes whole pages without a lock', 'agrees with a model when many'],
    ['writes next door', 'leaves the neighbours alone'],
    ['flushes nothing', 'keeps what was flushed when its process is killed'],
    ['discards too much', 'discards, and leaves the rest alone'],
    ['zeroes too little', 'reads zeros where zeros were written'],
    ['knows less than it was asked', 'knows its holes'],
    ['takes data for a hole', 'knows its holes'],
    ['fetches what it had before', 'fetches ahead, and changes nothing'],
    ['fetches ahead over a write', 'fetches ahead, and changes nothing'],
    ['has no size', 'opens a device'],
    ['is smaller than it was', 'reads the first block'],
  ])('finds that a backend %s', async (fault, title) => {
    expect(await firstFailure(fault)).toContain(title);
  });
});
