import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { InterruptLine } from '../../../frontends/vduse/interrupt-line.ts';

/** A line whose first `refusals` interrupts are refused. */
function setup(refusals: number) {
  const log: number[] = [];
  const errors: unknown[] = [];
  const line = new InterruptLine({
    inject: () => {
      log.push(Date.now());
      return log.length > refusals;
    },
    onBroken: (error) => void errors.push(error),
  });
  return { line, log, errors };
}

describe('InterruptLine', () => {
  beforeEach(() => void vi.useFakeTimers({ now: 0 }));
  afterEach(() => void vi.useRealTimers());

  it('tries once when the kernel takes the interrupt', () => {
    const { line, log } = setup(0);
    line.raise();
    vi.runAllTimers();
    expect(log).toEqual([0]);
  });

  it('tries again ever less often, until the kernel takes it', () => {
    const { line, log } = setup(9);
    line.raise();
    vi.runAllTimers();
    expect(log).toEqual([0, 1, 3, 7, 15, 31, 63, 127, 191, 255]);
  });

  it('makes one interrupt of those raised while one waits', () => {
    const { line, log } = setup(1);
    line.raise();
    line.raise();
    line.raise();
    vi.runAllTimers();
    expect(log).toEqual([0, 1]);
    line.raise();
    expect(log).toHaveLength(3);
  });

  it('drops what waits when it is closed', () => {
    const { line, log } = setup(1);
    line.raise();
    line[Symbol.dispose]();
    line.raise();
    vi.runAllTimers();
    expect(log).toEqual([0]);
  });

  it('reports a failure, and goes on trying', () => {
    const errors: unknown[] = [];
    let attempts = 0;
    const line = new InterruptLine({
      inject: () => {
        if (++attempts === 1) throw new Error('no');
        return true;
      },
      onBroken: (error) => void errors.push(error),
    });
    line.raise();
    vi.runAllTimers();
    expect(errors).toEqual([new Error('no')]);
    expect(attempts).toBe(2);
  });
});
