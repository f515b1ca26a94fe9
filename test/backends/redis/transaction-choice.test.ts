import { describe, expect, it } from 'vitest';
import { TransactionChoice } from '../../../backends/redis/transaction-choice.ts';

const KIB = 1024;

function measured(...roundTrips: number[]): TransactionChoice {
  const choice = new TransactionChoice();
  for (const ms of roundTrips) choice.tookRoundTrip(ms);
  return choice;
}

describe('writes go in a transaction', () => {
  it('where the server is near, unless they are few', () => {
    for (const choice of [measured(), measured(0.03, 5, 0.05)]) {
      expect(choice.isBetter(8 * KIB)).toBe(false);
      expect(choice.isBetter(16 * KIB)).toBe(true);
    }
  });

  it('over a long way only where they are worth another round trip', () => {
    const choice = measured(0.5, 0.6);
    expect(choice.isBetter(64 * KIB)).toBe(false);
    expect(choice.isBetter(512 * KIB)).toBe(true);
    expect(measured(4).isBetter(512 * KIB)).toBe(false);
  });

  it('now and then all the same, so that a server that is near again is noticed', () => {
    const choice = measured(4);
    const tries = Array.from({ length: 3200 }, () => {
      const isTried = choice.isBetter(64 * KIB);
      if (isTried) choice.tookRoundTrip(0.04);
      return isTried;
    });
    expect(tries.indexOf(true)).toBeGreaterThan(8);
    expect(tries.slice(-100)).not.toContain(false);
  });

  it('until a server that has gone far away is noticed, which a single slow answer is not', () => {
    const choice = measured(...Array.from({ length: 32 }, () => 0.04), 4);
    expect(choice.isBetter(64 * KIB)).toBe(true);
    for (let i = 0; i < 64; i++) choice.tookRoundTrip(4);
    expect(choice.isBetter(64 * KIB)).toBe(false);
  });
});
