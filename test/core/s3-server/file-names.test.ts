import { randomInt } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { keyToFileName } from '../../../core/s3-server/file-names.ts';

const SEED = Number(process.env['SEED'] ?? randomInt(2 ** 31));

it(`is a safe name of its own for every key (repeat with SEED=${SEED})`, () => {
  const key = fc
    .string({ unit: 'binary', minLength: 1, maxLength: 300 })
    .filter((text) => text.isWellFormed());
  fc.assert(
    fc.property(fc.uniqueArray(key, { maxLength: 20 }), (keys) => {
      const names = keys.map(keyToFileName);
      expect(new Set(names).size).toBe(keys.length);
      for (const name of names) expect(name).toMatch(/^[A-Za-z0-9%_-][A-Za-z0-9%_.~-]{0,254}$/);
    }),
    { seed: SEED },
  );
});

it.each([
  ['disks/disk0/chunk-1', 'disks%2Fdisk0%2Fchunk-1'],
  ['.', '%2E'],
  ['..', '%2E.'],
  ['a.b', 'a.b'],
  ['é', '%C3%A9'],
])('writes %s as %s', (key, name) => {
  expect(keyToFileName(key)).toBe(name);
});

it('tells long keys apart that differ in their last byte', () => {
  const start = 'k'.repeat(1000);
  expect(keyToFileName(`${start}a`)).not.toBe(keyToFileName(`${start}b`));
});
