import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AdaptiveSpin } from '../../../../frontends/virtio/virtq/adaptive-spin.ts';
import type { Virtqueue } from '../../../../frontends/virtio/virtq/virtqueue.ts';

const LIMIT_US = 50;
let nowMs = 1000;

beforeEach(() => {
  nowMs = 1000;
  // Each look at the clock takes a microsecond.
  vi.spyOn(performance, 'now').mockImplementation(() => (nowMs += 0.001));
});

afterEach(() => void vi.restoreAllMocks());

/** A ring that has something after so many looks. */
function ring(after: number) {
  let looks = 0;
  const hasAvailable = () => ++looks > after;
  return { virtqueue: { hasAvailable } as Virtqueue, looks: () => looks };
}

/** Goes to sleep and is woken after `waitUs`. */
function sleep(spin: AdaptiveSpin, waitUs: number): void {
  expect(spin.untilAvailable(ring(Number.POSITIVE_INFINITY).virtqueue)).toBe(false);
  nowMs += waitUs / 1000;
  spin.woken();
}

describe('AdaptiveSpin', () => {
  it('does not look while requests come slowly', () => {
    const spin = new AdaptiveSpin(LIMIT_US);
    for (let i = 0; i < 20; i++) sleep(spin, 5_000);
    const never = ring(0);
    expect(spin.untilAvailable(never.virtqueue)).toBe(false);
    expect(never.looks()).toBe(0);
  });

  it('looks once they follow each other closely', () => {
    const spin = new AdaptiveSpin(LIMIT_US);
    for (let i = 0; i < 4; i++) sleep(spin, 60);
    const soon = ring(40);
    expect(spin.untilAvailable(soon.virtqueue)).toBe(true);
    expect(soon.looks()).toBe(41);
    expect(spin.untilAvailable(ring(40).virtqueue)).toBe(true);
  });

  it('gives up after the limit, and starts anew', () => {
    const spin = new AdaptiveSpin(LIMIT_US);
    for (let i = 0; i < 4; i++) sleep(spin, 60);
    const before = nowMs;
    expect(spin.untilAvailable(ring(1e9).virtqueue)).toBe(false);
    expect(nowMs - before).toBeLessThan((LIMIT_US + 10) / 1000);
    const next = ring(0);
    expect(spin.untilAvailable(next.virtqueue)).toBe(false);
    expect(next.looks()).toBe(0);
  });

  it('needs short waits in a row', () => {
    const spin = new AdaptiveSpin(LIMIT_US);
    for (const wait of [60, 60, 60, 5_000, 60, 60, 60]) sleep(spin, wait);
    expect(spin.untilAvailable(ring(0).virtqueue)).toBe(false);
  });
});
