/** A set of bytes as sorted, disjoint, never adjoining ranges. Small by nature: rewritten in place, not balanced. */
export class RangeSet {
  /** start, end, start, end, … */
  #bounds: number[] = [];

  /** Adds [start, end). */
  add(start: number, end: number): void {
    const bounds = this.#bounds;
    // First range that ends at or after `start`, and the first that starts after `end`: those between melt into one.
    let first = 0;
    while (first < bounds.length && bounds[first + 1]! < start) first += 2;
    let after = first;
    while (after < bounds.length && bounds[after]! <= end) after += 2;
    if (after > first) {
      bounds.splice(first, after - first, Math.min(start, bounds[first]!), Math.max(end, bounds[after - 1]!));
    } else {
      bounds.splice(first, 0, start, end);
    }
  }

  /** True when every byte of [start, end) is in the set. */
  covers(start: number, end: number): boolean {
    const bounds = this.#bounds;
    for (let i = 0; i < bounds.length; i += 2) {
      if (bounds[i]! <= start && end <= bounds[i + 1]!) return true;
    }
    return start >= end;
  }

  /** Calls `visit(start, end)` for each run of [start, end) that is in the set, in order. */
  forEachIn(start: number, end: number, visit: (start: number, end: number) => void): void {
    const bounds = this.#bounds;
    for (let i = 0; i < bounds.length && bounds[i]! < end; i += 2) {
      const from = Math.max(start, bounds[i]!);
      const to = Math.min(end, bounds[i + 1]!);
      if (from < to) visit(from, to);
    }
  }

  /** Calls `visit(start, end)` for each run of [start, end) that is not in the set, in order. */
  forEachGap(start: number, end: number, visit: (start: number, end: number) => void): void {
    let at = start;
    this.forEachIn(start, end, (from, to) => {
      if (at < from) visit(at, from);
      at = to;
    });
    if (at < end) visit(at, end);
  }
}
