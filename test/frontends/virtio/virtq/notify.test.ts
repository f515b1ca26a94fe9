import { describe, expect, it } from 'vitest';
import { needEvent } from '../../../../frontends/virtio/virtq/notify.ts';

describe('the event index', () => {
  it.each([
    { event: 5, old: 5, next: 6, wanted: true },
    { event: 5, old: 4, next: 5, wanted: false },
    { event: 5, old: 6, next: 9, wanted: false },
    { event: 5, old: 0, next: 32, wanted: true },
    { event: 31, old: 0, next: 32, wanted: true },
    { event: 32, old: 0, next: 32, wanted: false },
    { event: 0xffff, old: 0xfffe, next: 1, wanted: true },
    { event: 0, old: 0xfffe, next: 1, wanted: true },
    { event: 1, old: 0xfffe, next: 1, wanted: false },
    { event: 0xfffd, old: 0xfffe, next: 1, wanted: false },
  ])('$event, going from $old to $next: $wanted', ({ event, old, next, wanted }) => {
    expect(needEvent(event, next, old)).toBe(wanted);
  });
});
