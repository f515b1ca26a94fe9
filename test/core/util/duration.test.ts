import { describe, expect, it } from 'vitest';
import { durationSchema } from '../../../core/util/config-types.ts';
import { formatDuration, parseDuration } from '../../../core/util/duration.ts';
import { parseMoment } from '../../../core/util/moment.ts';

const HOUR = 3_600_000;

describe('a duration', () => {
  it.each([
    [90, 90_000],
    ['90', 90_000],
    ['1.5h', 1.5 * HOUR],
    [' 30 min ', HOUR / 2],
    ['7d', 7 * 24 * HOUR],
    ['0', 0],
  ])('%j is %i ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(['', 'soon', '1 week', '-1h', -1, '5m', Number.NaN])('is not %j', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  it.each([
    [HOUR, '1h'],
    [90_000, '90s'],
    [120_000, '2min'],
    [24 * HOUR, '24h'],
  ])('%i ms is shown as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
    expect(parseDuration(text)).toBe(ms);
  });

  it('is 0 or within its range in a configuration', () => {
    const schema = durationSchema({ min: 60_000, max: HOUR });
    const messageOf = (value: number | string) => schema.safeParse(value).error?.issues[0]?.message;
    expect(schema.parse(0)).toBe(0);
    expect(schema.parse('1h')).toBe(HOUR);
    expect(messageOf('1s')).toBe('1s is not between 1min and 1h');
    expect(messageOf('2h')).toBe('2h is not between 1min and 1h');
    expect(messageOf('often')).toBe('not a time: "often"; write seconds, or a number with s, min, h or d');
  });
});

describe('a moment', () => {
  const now = Date.parse('2026-03-29T14:00:00Z');

  it.each([
    ['2026-03-29T12:00:00Z', -2],
    ['2026-03-29T13:00+02:00', -3],
    ['2h ago', -2],
    ['-2h', -2],
    ['30min ago', -0.5],
    ['2026-03-29', -14],
  ])('%s is %d hours from now', (text, hours) => {
    expect(parseMoment(text, now)?.getTime()).toBe(now + hours * HOUR);
  });

  it.each(['', '2h', 'yesterday', 'ago', '-', '2026-13-01T00:00:00Z', '1'])('is not %j', (text) => {
    expect(parseMoment(text, now)).toBeUndefined();
  });
});
