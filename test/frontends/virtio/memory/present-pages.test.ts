import { describe, expect, it } from 'vitest';
import { PresentPages } from '../../../../frontends/virtio/memory/present-pages.ts';

const PAGE = 4096;

/** Pages of which some are there, and what the kernel was asked: page and number of pages. */
function pagesOf(length: number, present: readonly number[]) {
  const there = new Set(present);
  const asked: [number, number][] = [];
  const pages = new PresentPages(length, (offset, bytes) => {
    expect(offset % PAGE).toBe(0);
    expect(offset + bytes).toBeLessThanOrEqual(length);
    const count = Math.ceil(bytes / PAGE);
    asked.push([offset / PAGE, count]);
    for (let page = offset / PAGE; page < offset / PAGE + count; page++) if (!there.has(page)) return false;
    return true;
  });
  return { pages, asked, there };
}

describe('pages that may be missing', () => {
  it('are asked for at the first touch, and never again', () => {
    const { pages, asked } = pagesOf(100 * PAGE, [0, 33, 64]);
    for (let i = 0; i < 3; i++) {
      expect(pages.covers(0, 16)).toBe(true);
      expect(pages.covers(33 * PAGE + 100, 34 * PAGE)).toBe(true);
      expect(pages.covers(64 * PAGE, 64 * PAGE + 1)).toBe(true);
    }
    expect(asked).toEqual([
      [0, 1],
      [33, 1],
      [64, 1],
    ]);
  });

  it('are asked for in one call, from the first that nobody has seen', () => {
    const { pages, asked } = pagesOf(100 * PAGE, [4, 5, 6, 7, 8]);
    pages.covers(4 * PAGE, 6 * PAGE);
    expect(pages.covers(5 * PAGE, 9 * PAGE)).toBe(true);
    expect(pages.covers(4 * PAGE, 9 * PAGE)).toBe(true);
    expect(asked).toEqual([
      [4, 2],
      [6, 3],
    ]);
  });

  it('make a range useless by a single one, and are asked for again: they may appear', () => {
    const { pages, there } = pagesOf(100 * PAGE, [1, 3]);
    expect(pages.covers(PAGE, 4 * PAGE)).toBe(false);
    expect(pages.covers(2 * PAGE - 1, 2 * PAGE + 1)).toBe(false);
    expect(pages.covers(2 * PAGE - 1, 2 * PAGE)).toBe(true);
    there.add(2);
    expect(pages.covers(PAGE, 4 * PAGE)).toBe(true);
  });

  it('end where the mapping ends, within a page too', () => {
    const { pages } = pagesOf(2 * PAGE + 100, [0, 1, 2]);
    expect(pages.covers(2 * PAGE, 2 * PAGE + 100)).toBe(true);
  });

  it('are told apart where there are more than 2^32 bytes of them', () => {
    const page = 2 ** 21 + 5;
    const { pages } = pagesOf(2 ** 34, [page, 5]);
    expect(pages.covers(page * PAGE, page * PAGE + 8)).toBe(true);
    expect(pages.covers((page + 1) * PAGE, (page + 1) * PAGE + 8)).toBe(false);
    expect(pages.covers(6 * PAGE, 6 * PAGE + 8)).toBe(false);
  });
});
