import { randomInt } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { compareUtf8, SortedKeys } from '../../../core/s3-server/sorted-keys.ts';

const SEED = Number(process.env['SEED'] ?? randomInt(2 ** 31));
const key = fc.string({ unit: 'binary', maxLength: 6 }).filter((text) => text.isWellFormed());
const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

function listAll(keys: SortedKeys): string[] {
  const out: string[] = [];
  for (let next = keys.first(() => false); next !== undefined; ) {
    out.push(next);
    const last = next;
    next = keys.first((candidate) => compareUtf8(candidate, last) <= 0);
  }
  return out;
}

it(`compares as the UTF-8 bytes do (repeat with SEED=${SEED})`, () => {
  fc.assert(
    fc.property(key, key, (a, b) => {
      expect(Math.sign(compareUtf8(a, b))).toBe(byBytes(a, b));
    }),
    { seed: SEED, numRuns: 2000 },
  );
});

it(`holds what was added and not deleted, in order (repeat with SEED=${SEED})`, () => {
  fc.assert(
    fc.property(fc.array(key), fc.array(fc.tuple(fc.boolean(), key)), (initial, changes) => {
      const keys = SortedKeys.from(new Set(initial));
      const model = new Set(initial);
      for (const [add, k] of changes) {
        if (add) keys.add(k);
        else keys.delete(k);
        if (add) model.add(k);
        else model.delete(k);
      }
      expect(listAll(keys)).toEqual([...model].sort(byBytes));
      expect(keys.size).toBe(model.size);
    }),
    { seed: SEED },
  );
});

it('splits blocks as it grows and drops them as it shrinks', () => {
  const keys = new SortedKeys();
  const names = Array.from({ length: 5000 }, (_, i) => `k${String((i * 7919) % 5000).padStart(4, '0')}`);
  for (const name of names) keys.add(name);
  expect(listAll(keys)).toEqual(names.toSorted());
  for (const name of names) keys.delete(name);
  expect([keys.size, keys.first(() => false)]).toEqual([0, undefined]);
});
