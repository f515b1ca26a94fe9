import { z } from 'zod';
import type { DeviceStatus, Op } from '../api/device.ts';
import { defineFilter } from '../api/filter.ts';
import { formatSize } from '../util/size.ts';
import { type Observation, ObservedLayer } from './observed.ts';
import { OPS } from './ops.ts';

/** Powers of two of a microsecond: up to about an hour. */
const BUCKETS = 32;

/** Counts of one operation. */
class Counter {
  count = 0;
  errors = 0;
  bytes = 0;
  /** By the power of two of microseconds below which a request took. */
  readonly #latencies = new Float64Array(BUCKETS);

  add({ length, ms, error }: Observation): void {
    this.count++;
    if (error !== undefined) this.errors++;
    else this.bytes += length;
    const bucket = Math.ceil(Math.log2(Math.max(1, ms * 1000)));
    this.#latencies[Math.min(BUCKETS - 1, bucket)]! += 1;
  }

  /** Milliseconds within which this share of requests was over; within a factor of two. */
  percentile(share: number): number {
    let left = this.count * share;
    for (const [bucket, count] of this.#latencies.entries()) {
      left -= count;
      if (left <= 0) return 2 ** bucket / 1000;
    }
    return 0;
  }

  toString(): string {
    const bytes = this.bytes === 0 ? '' : `, ${formatSize(this.bytes)}`;
    const errors = this.errors === 0 ? '' : `, ${this.errors} failed`;
    const [p50, p99] = [this.percentile(0.5), this.percentile(0.99)];
    return `${this.count} (${p50} ms median, ${p99} ms 99 %${bytes}${errors})`;
  }
}

class StatsLayer extends ObservedLayer {
  readonly #counters = new Map<Op, Counter>(OPS.map((op) => [op, new Counter()]));

  status(): DeviceStatus {
    const used = [...this.#counters].filter(([, { count }]) => count > 0);
    return Object.fromEntries(used.map(([op, counter]) => [op, counter.toString()]));
  }

  protected override observe(observation: Observation): void {
    this.#counters.get(observation.op)!.add(observation);
  }
}

export default defineFilter({
  name: 'stats',
  description: 'Counts requests, bytes, failures and times, for "blockgate status".',
  config: z.strictObject({}),
  stance: {
    read: 'own',
    write: 'own',
    flush: 'own',
    discard: 'own',
    writeZeroes: 'own',
    extents: 'own',
    prefetch: 'own',
  },
  wrap: (next) => new StatsLayer(next),
});
