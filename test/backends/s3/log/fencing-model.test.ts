import { describe, expect, it } from 'vitest';
import { explore, RULES } from './fencing-model.ts';

describe('the protocol of fences', () => {
  it('loses no flush that was answered, in any order of events', () => {
    const { states, problem } = explore(RULES);
    expect(problem).toBeUndefined();
    expect(states).toBeGreaterThan(10_000);
  });

  it.each(['contiguous', 'keepsFence', 'condemnsFirst', 'asksAgain'] as const)(
    'needs its rule "%s"',
    (rule) => {
      expect(explore({ ...RULES, [rule]: false }).problem).toBeDefined();
    },
  );
});
