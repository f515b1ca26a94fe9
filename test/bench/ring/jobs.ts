const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * `same`: driver and device share a processor, which shows the cost of the software alone. `cross`: each has one, and
 * waking the other side is part of it. `free`: the scheduler decides.
 */
export type Placement = 'same' | 'cross' | 'free';

export interface RingJob {
  readonly title: string;
  readonly rw: 'randread' | 'randwrite' | 'read' | 'write';
  /** Bytes per request, and per segment at most. */
  readonly blockSize: number;
  readonly segment: number;
  /** Requests outstanding on each queue. */
  readonly depth: number;
  readonly queues: number;
  readonly placement: Placement;
  /** Microseconds that our queue may look for requests before it sleeps; the device in C never does. */
  readonly spinUs: number;
  /**
   * What is compared with the device in C: requests per second, which have to be at least `target` times as many, or
   * the median latency, which may be `target` times as long.
   */
  readonly measure: 'iops' | 'latency';
  readonly target: number;
}

const FLOOR = { measure: 'iops', target: 0.9 } as const;
const LATENCY = { measure: 'latency', target: 1.15 } as const;
const SMALL = { blockSize: 4 * KIB, segment: 64 * KIB, queues: 1, spinUs: 0 } as const;

const smallJobs = (['same', 'cross'] as const).flatMap((placement) => [
  job({ ...SMALL, ...LATENCY, rw: 'randread', depth: 1, placement }),
  job({ ...SMALL, ...FLOOR, rw: 'randread', depth: 32, placement }),
  job({ ...SMALL, ...FLOOR, rw: 'randread', depth: 128, placement }),
  job({ ...SMALL, ...LATENCY, rw: 'randwrite', depth: 1, placement }),
  job({ ...SMALL, ...FLOOR, rw: 'randwrite', depth: 32, placement }),
  job({ ...SMALL, ...FLOOR, rw: 'randwrite', depth: 128, placement }),
]);
const TWO = { ...SMALL, queues: 2, placement: 'free' } as const;
const LARGE = { segment: 64 * KIB, queues: 1, placement: 'same', spinUs: 0, ...FLOOR } as const;

export const RING_JOBS: readonly RingJob[] = [
  ...smallJobs,
  job({ ...SMALL, ...LATENCY, rw: 'randread', depth: 1, placement: 'cross', spinUs: 50 }),
  job({ ...TWO, ...LATENCY, rw: 'randread', depth: 1 }),
  job({ ...TWO, ...FLOOR, rw: 'randread', depth: 32 }),
  job({ ...TWO, ...FLOOR, rw: 'randread', depth: 128 }),
  job({ ...TWO, ...FLOOR, rw: 'randwrite', depth: 32 }),
  job({ ...LARGE, rw: 'randread', blockSize: 64 * KIB, depth: 16 }),
  job({ ...LARGE, rw: 'randwrite', blockSize: 64 * KIB, depth: 16 }),
  job({ ...LARGE, rw: 'read', blockSize: MIB, depth: 1 }),
  job({ ...LARGE, rw: 'read', blockSize: MIB, depth: 8 }),
  job({ ...LARGE, rw: 'read', blockSize: MIB, depth: 8, segment: 4 * KIB }),
  job({ ...LARGE, rw: 'write', blockSize: MIB, depth: 8 }),
];

function job(of: Omit<RingJob, 'title'>): RingJob {
  const size = of.blockSize < MIB ? `${of.blockSize / KIB} KiB` : `${of.blockSize / MIB} MiB`;
  const access = { randread: 'random read', randwrite: 'random write', read: 'read', write: 'write' }[of.rw];
  const pieces = of.segment < 64 * KIB ? ` in pieces of ${of.segment / KIB} KiB` : '';
  const queues = of.queues > 1 ? `${of.queues} queues, ` : '';
  const spin = of.spinUs > 0 ? ', spinning' : '';
  return { ...of, title: `${size} ${access}${pieces}, ${queues}QD${of.depth}, ${of.placement}${spin}` };
}
