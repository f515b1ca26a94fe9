import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { inParallel } from '../../../core/util/in-parallel.ts';
import { settleAll } from '../../../core/util/settle-all.ts';

describe('inParallel', () => {
  it('does everything, no more at a time than it may', async () => {
    const done: number[] = [];
    let running = 0;
    let most = 0;
    await inParallel(new Set(Array.from({ length: 20 }, (_, i) => i)), 3, async (item) => {
      most = Math.max(most, ++running);
      for (let i = 0; i < item % 4; i++) await setImmediate();
      running--;
      done.push(item);
    });
    expect(done.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(most).toBe(3);
  });

  it('begins nothing after a failure, waits for what runs, and says what failed first', async () => {
    const begun: number[] = [];
    const ended: number[] = [];
    const run = async (item: number): Promise<void> => {
      begun.push(item);
      for (let i = 0; i < 5 - item; i++) await setImmediate();
      ended.push(item);
      throw new Error(`${item} failed`);
    };
    await expect(inParallel([0, 1, 2, 3, 4], 3, run)).rejects.toThrow('2 failed');
    expect(begun).toEqual([0, 1, 2]);
    expect(ended).toEqual([2, 1, 0]);
  });
});

describe('settleAll', () => {
  it('waits for all, also after a failure, and throws that of the first of them', async () => {
    let isOver = false;
    const slow = setImmediate().then(() => {
      isOver = true;
      throw new Error('the first');
    });
    await expect(settleAll([slow, undefined, Promise.reject(new Error('the second'))])).rejects.toThrow(
      'the first',
    );
    expect(isOver).toBe(true);
  });
});
