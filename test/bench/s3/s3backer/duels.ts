import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { parseFio } from '../../fio.ts';
import { BLOCK, GIB, KIB, MIB, time } from '../measure.ts';
import type { Contender, S3backerSettings } from './contenders.ts';
import { run } from './programs.ts';
import type { Traffic } from './traffic.ts';

/** What one of the two did. */
export interface Outcome {
  readonly value: number;
  /** From the beginning until the store had everything. */
  readonly traffic: Traffic;
  /** How often it did what requests and bytes are told for. */
  readonly operations: number;
}

/** One thing that both do, each on a new disk. */
export interface Duel {
  /** A line of the table for each; requests and bytes are per `per`. */
  readonly lines: readonly {
    readonly what: string;
    readonly unit: string;
    readonly per: string;
    readonly isMost?: true;
  }[];
  /** Bytes. */
  readonly size: number;
  readonly theirs: S3backerSettings;
  /** An outcome for each line, in their order; what comes after that nobody asked for. */
  readonly fight: (arena: Arena) => Promise<readonly Outcome[]>;
}

export interface Arena {
  readonly contender: Contender;
  /** What the store was asked since this was called last. */
  readonly traffic: () => Promise<Traffic>;
  /** An empty folder. */
  readonly folder: string;
  readonly seconds: number;
}

/** What is in the archive, of this repository. */
const TREE = ['core', 'backends', 'frontends', 'test', 'docs', 'node_modules/@aws-sdk', 'node_modules/zod'];
/** Of what is discarded. Bytes. */
const FILLED = 256 * MIB;
/** Writes that are flushed before the machine dies, one by one. */
const FLUSHED = 100;

async function withLoop(file: string, use: (device: string) => Promise<unknown>): Promise<void> {
  const device = await run('losetup', '--find', '--show', file);
  try {
    await use(device);
  } finally {
    await run('losetup', '--detach', device);
  }
}

async function withMount(device: string, folder: string, use: () => Promise<unknown>): Promise<void> {
  await run('mount', device, folder);
  try {
    await use();
  } finally {
    await run('umount', folder);
  }
}

async function fio(contender: Contender, ...job: string[]): Promise<ReturnType<typeof parseFio>> {
  const output = await run('fio', '--name=bench', '--output-format=json', ...contender.fio, ...job);
  // Its engine of libnbd says that it is connected.
  return parseFio(output.slice(output.indexOf('{')));
}

const flushedWrites =
  (jobs: number) =>
  async ({ contender, traffic, seconds }: Arena): Promise<readonly Outcome[]> => {
    await contender.attach();
    await traffic();
    const { iops, requests } = await fio(
      contender,
      ...['--rw=randwrite', '--bs=4k', '--fsync=1', '--size=1g', `--numjobs=${jobs}`, '--group_reporting'],
      ...['--norandommap', '--time_based', `--runtime=${seconds}`],
    );
    await contender.detach();
    return [{ value: iops, traffic: await traffic(), operations: requests }];
  };

async function tree({ contender, traffic, folder }: Arena): Promise<readonly Outcome[]> {
  const archive = join(folder, 'tree.tar');
  const root = new URL('../../../../', import.meta.url).pathname;
  await run('tar', '--create', `--file=${archive}`, `--directory=${root}`, ...TREE);
  const mount = join(folder, 'mount');
  await mkdir(mount);
  const onMount = async (...command: string[]): Promise<Omit<Outcome, 'operations'>> => {
    await contender.attach();
    const file = await contender.file();
    await traffic();
    const took = await time(async () => {
      await withLoop(file, (device) =>
        withMount(device, mount, () => run('tar', ...command, `--file=${archive}`, `--directory=${mount}`)),
      );
      await contender.settle();
    });
    await contender.detach();
    return { value: took / 1000, traffic: await traffic() };
  };
  await contender.attach();
  await withLoop(await contender.file(), (device) => run('mkfs.ext4', '-q', '-F', device));
  await contender.detach();
  const written = await onMount('--extract');
  const compared = await onMount('--compare');
  return [
    { ...written, operations: 1 },
    { ...compared, operations: 1 },
  ];
}

const fill = (contender: Contender, bytes: number): Promise<unknown> =>
  fio(contender, '--bs=1m', `--size=${bytes}`, '--rw=write', '--end_fsync=1', '--refill_buffers');

const sequential =
  (bytes: number) =>
  async ({ contender, traffic }: Arena): Promise<readonly Outcome[]> => {
    const count = bytes / MIB;
    await contender.attach();
    await traffic();
    const write = await time(async () => {
      await fill(contender, bytes);
      await contender.settle();
    });
    await contender.detach();
    const written = await traffic();
    await contender.attach();
    await traffic();
    const { iops } = await fio(contender, '--bs=1m', `--size=${bytes}`, '--rw=read');
    await contender.detach();
    return [
      { value: (count / write) * 1000, traffic: written, operations: count },
      { value: iops, traffic: await traffic(), operations: count },
    ];
  };

async function discard({ contender, traffic }: Arena): Promise<readonly Outcome[]> {
  await contender.attach();
  await fill(contender, FILLED);
  await contender.detach();
  await contender.attach();
  const file = await contender.file();
  await traffic();
  const took = await time(async () => {
    await withLoop(file, async (device) => {
      await run('blkdiscard', device);
      await run('sync', device);
    });
    await contender.settle();
  });
  await contender.detach();
  return [{ value: took / 1000, traffic: await traffic(), operations: 1 }];
}

/** Of writes whose flush was answered, one after the other, those that a crash takes. */
async function crash({ contender, traffic }: Arena): Promise<readonly Outcome[]> {
  const blockAt = (i: number): number => i * 16 * BLOCK;
  const data = (i: number): Buffer => Buffer.alloc(BLOCK, i + 1);
  await contender.attach();
  await traffic();
  const file = await open(await contender.file(), 'r+');
  for (let i = 0; i < FLUSHED; i++) {
    await file.write(data(i), 0, BLOCK, blockAt(i));
    await file.sync();
  }
  await contender.kill();
  // What it is a file of is gone.
  await file.close().catch(() => undefined);
  const sent = await traffic();
  await contender.attach();
  let lost = 0;
  {
    await using again = await open(await contender.file(), 'r');
    const found = Buffer.alloc(BLOCK);
    for (let i = 0; i < FLUSHED; i++) {
      await again.read(found, 0, BLOCK, blockAt(i));
      if (!found.equals(data(i))) lost++;
    }
  }
  await contender.detach();
  return [{ value: lost, traffic: sent, operations: FLUSHED }];
}

const treeLines = (what: string): Duel['lines'] => [
  { what: `${what}: untar onto ext4`, unit: 's', per: 'tree', isMost: true },
  { what: `${what}: compare after attaching again`, unit: 's', per: 'tree', isMost: true },
];

export const DUELS: readonly Duel[] = [
  {
    lines: [{ what: '4 KiB random write + fsync, QD1', unit: 'IOPS', per: 'write' }],
    size: GIB,
    theirs: { blockSize: 4 * KIB, isSync: true },
    fight: flushedWrites(1),
  },
  {
    lines: [{ what: '4 KiB random write + fsync, 16 jobs', unit: 'IOPS', per: 'write' }],
    size: GIB,
    theirs: { blockSize: 4 * KIB, isSync: true },
    fight: flushedWrites(16),
  },
  {
    lines: [
      {
        what: `writes whose fsync was answered, lost when killed, of ${FLUSHED}`,
        unit: 'writes',
        per: 'write',
        isMost: true,
      },
    ],
    size: GIB,
    theirs: { blockSize: 4 * KIB, isSync: false },
    fight: crash,
  },
  {
    lines: treeLines('source tree, flushes that hold'),
    size: GIB,
    theirs: { blockSize: 128 * KIB, isSync: true },
    fight: tree,
  },
  {
    lines: treeLines('source tree'),
    size: GIB,
    theirs: { blockSize: MIB, isSync: false },
    fight: tree,
  },
  {
    lines: [{ what: '1 MiB sequential write, a flush that holds', unit: 'MiB/s', per: 'MiB' }],
    size: 16 * GIB,
    theirs: { blockSize: 128 * KIB, isSync: true },
    fight: sequential(64 * MIB),
  },
  {
    lines: [
      { what: '1 MiB sequential write', unit: 'MiB/s', per: 'MiB' },
      { what: '1 MiB sequential read after attaching again', unit: 'MiB/s', per: 'MiB' },
    ],
    size: 16 * GIB,
    theirs: { blockSize: MIB, isSync: false },
    fight: sequential(256 * MIB),
  },
  {
    lines: [{ what: 'discard of the whole disk', unit: 's', per: 'discard', isMost: true }],
    size: 16 * GIB,
    theirs: { blockSize: MIB, isSync: false },
    fight: discard,
  },
];
