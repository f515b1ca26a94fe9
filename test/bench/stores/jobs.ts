/** One access pattern, and how it compares. */
export interface StoreJob {
  readonly store: 'nbd' | 'redis';
  readonly title: string;
  readonly rw: 'randread' | 'randwrite';
  /** Bytes. */
  readonly blockSize: number;
  readonly depth: number;
  /** How many times as fast as the peer this has to be; 0: told, and not judged. */
  readonly target: number;
  /** The peer writes by a script as well, which does nothing but that. */
  readonly script?: true;
}

const KIB = 1024;

export const JOBS: readonly StoreJob[] = [
  {
    store: 'nbd',
    title: 'NBD, 4 KiB random read, QD1',
    rw: 'randread',
    blockSize: 4 * KIB,
    depth: 1,
    target: 0,
  },
  {
    store: 'nbd',
    title: 'NBD, 4 KiB random read, QD32',
    rw: 'randread',
    blockSize: 4 * KIB,
    depth: 32,
    target: 0.7,
  },
  {
    store: 'nbd',
    title: 'NBD, 4 KiB random write, QD32',
    rw: 'randwrite',
    blockSize: 4 * KIB,
    depth: 32,
    target: 0.7,
  },
  {
    store: 'nbd',
    title: 'NBD, 256 KiB random read, QD8',
    rw: 'randread',
    blockSize: 256 * KIB,
    depth: 8,
    target: 0,
  },
  {
    store: 'redis',
    title: 'Redis, 4 KiB random read, QD32',
    rw: 'randread',
    blockSize: 4 * KIB,
    depth: 32,
    target: 0.45,
  },
  {
    store: 'redis',
    title: 'Redis, 4 KiB random write, QD32',
    rw: 'randwrite',
    blockSize: 4 * KIB,
    depth: 32,
    target: 0.45,
  },
  {
    store: 'redis',
    title: 'Redis, 4 KiB random write, QD32, against a script',
    rw: 'randwrite',
    blockSize: 4 * KIB,
    depth: 32,
    target: 0.45,
    script: true,
  },
  {
    store: 'redis',
    title: 'Redis, 64 KiB random read, QD32',
    rw: 'randread',
    blockSize: 64 * KIB,
    depth: 32,
    target: 0,
  },
];
