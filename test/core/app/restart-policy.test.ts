import { describe, expect, it } from 'vitest';
import { GatewayError } from '../../../core/api/errors.ts';
import { BackoffRestart } from '../../../core/app/restart-policy.ts';

const crash = new GatewayError('disk.process-died', 'It was killed.');
const delay = (error: Error, count: number, random = 0) =>
  new BackoffRestart(() => random).delayAfter({ disk: 'disk0', error, count });

describe('a disk that crashed', () => {
  it('comes back at once, then later and later, and never later than half a minute', () => {
    const delays = Array.from({ length: 12 }, (_, i) => delay(crash, i + 1));
    expect(delays.slice(0, 5)).toEqual([0, 200, 500, 1000, 2000]);
    expect(delays).toEqual([...delays].sort((a, b) => a! - b!));
    expect(delays.at(-1)).toBe(30_000);
  });

  it('does not come back at the very moment at which others do', () => {
    expect(delay(crash, 4, 0.999)).toBe(750);
  });

  it('does so when it was an error of no known kind', () => {
    expect(delay(new Error('boom'), 1)).toBe(0);
  });
});

describe('a disk that was refused', () => {
  it.each([
    new GatewayError('vduse.device-differs', 'It was made otherwise.'),
    new AggregateError([], 'Mistakes.'),
  ])('is tried at the slowest pace: $message', (error) => {
    expect(delay(error, 1)).toBe(30_000);
    expect(delay(error, 100)).toBe(30_000);
  });

  it.each(['vduse.detached', 'volume.owned', 'volume.in-use'])('stays down after %s', (code) => {
    const cause = new GatewayError(code, 'The reason.');
    expect(delay(cause, 1)).toBeUndefined();
    expect(delay(new GatewayError('disk.broken', 'It broke.', { cause }), 1)).toBeUndefined();
  });

  it('is not kept waiting for ever by causes that go round in a circle', () => {
    const error = new Error('round');
    error.cause = error;
    expect(delay(error, 1)).toBe(0);
  });
});
