import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { EXPIRED, withDeadline } from '../../../core/vm/deadline.ts';

describe('withDeadline', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('gives the result of work that is done in time, and leaves no timer', async () => {
    expect(await withDeadline(Promise.resolve(5), 1000)).toBe(5);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('says EXPIRED when time is up', async () => {
    const outcome = withDeadline(new Promise(() => {}), 1000);
    await vi.advanceTimersByTimeAsync(1000);
    expect(await outcome).toBe(EXPIRED);
  });

  it("rejects with the signal's reason", async () => {
    const controller = new AbortController();
    const outcome = withDeadline(new Promise(() => {}), 1000, controller.signal);
    controller.abort(new Error('enough'));
    await expect(outcome).rejects.toThrow('enough');
    expect(vi.getTimerCount()).toBe(0);
  });
});
