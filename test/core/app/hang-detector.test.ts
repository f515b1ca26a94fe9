import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HangDetector } from '../../../core/app/hang-detector.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function watch() {
  const ask = vi.fn();
  const onHung = vi.fn();
  return { ask, onHung, detector: new HangDetector({ limitMs: 1000, ask, onHung }) };
}

describe('HangDetector', () => {
  it('is content for as long as it is answered', () => {
    const { ask, onHung, detector } = watch();
    ask.mockImplementation(() => detector.answered());
    vi.advanceTimersByTime(100_000);
    expect(ask).toHaveBeenCalledTimes(200);
    expect(onHung).not.toHaveBeenCalled();
    detector[Symbol.dispose]();
  });

  it('says once that no answer has come for the limit', () => {
    const { onHung } = watch();
    vi.advanceTimersByTime(1499);
    expect(onHung).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(onHung).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(100_000);
    expect(onHung).toHaveBeenCalledTimes(1);
  });

  it('forgives a late answer', () => {
    const { onHung, detector } = watch();
    vi.advanceTimersByTime(1400);
    detector.answered();
    vi.advanceTimersByTime(1000);
    expect(onHung).not.toHaveBeenCalled();
    detector[Symbol.dispose]();
  });

  it('says nothing once it is disposed of', () => {
    const { onHung, detector } = watch();
    detector[Symbol.dispose]();
    vi.advanceTimersByTime(100_000);
    expect(onHung).not.toHaveBeenCalled();
  });
});
