import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  acrossTheEnd,
  discardAndZero,
  type FileSystem,
  fileSystem,
  fioVerify,
  trim,
} from '../support/disk-exercises.ts';
import { Guest, type GuestGateway } from '../support/guest.ts';
import { blockgate } from '../support/host-cli.ts';
import { S3_SERVICES, type S3Service, startS3Service } from '../support/kernel-backends.ts';

/** Files and buckets as disks of the real kernel, put through what people do with disks. Others have files of their own. */

const MIB = 2 ** 20;
const SIZE = 512 * MIB;
/** Some hundred files of all sizes, and binaries among them. */
const TREE = join(import.meta.dirname, '..', '..', 'node_modules', 'zod', 'v4');
const DEVICE = '/dev/blockgate/disk0';

interface Stage {
  readonly backend: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Bytes the disk occupies in its store now; absent where nobody can know, or looks. */
  usedBytes?(): Promise<number>;
  prepare?(): Promise<void>;
}

const FIO_CASES = [
  { depth: 1, direct: true },
  { depth: 32, direct: true },
  { depth: 1, direct: false },
  { depth: 32, direct: false },
] as const;

/**
 * What the others have as well, and nothing of their own: single requests, the page cache, trimming and more file systems
 * are those others' matter.
 */
const PLAIN = ['file on a block device'];

let guest: Guest;
const services = new Map<string, S3Service>();

const STAGES: Record<string, () => Promise<Stage>> = {
  file: async () => ({
    backend: { type: 'file', path: '/scratch/disk0.img', size: SIZE },
    usedBytes: async () => Number(await guest.sh("stat -c '%b * 512' /scratch/disk0.img | xargs expr")),
  }),
  'file on a block device': async () => ({
    backend: { type: 'file', path: '/dev/vdb' },
  }),
  ...Object.fromEntries(
    // The other one is in s3-disk.test.ts.
    S3_SERVICES.slice(0, 1).map((name) => [
      `s3 on ${name}`,
      async () => {
        const service = await startS3Service(name);
        services.set(name, service);
        const backend = { ...service.backend, prefix: 'disk0', size: SIZE };
        return {
          backend,
          env: service.env,
          usedBytes: async () => (await service.list('disk0/')).reduce((sum, { Size = 0 }) => sum + Size, 0),
          prepare: async () => {
            const disk0 = { backend: { ...backend, ...service.hostBackend } };
            const { exitCode, output } = await blockgate(
              { disk0 },
              ['volume', 'create', 'disk0'],
              service.env,
            );
            if (exitCode !== 0) throw new Error(output);
          },
        };
      },
    ]),
  ),
};

beforeAll(async () => {
  guest = await Guest.start({ disks: [{ sizeMiB: 2048 }, { sizeMiB: 512 }] });
  await guest.sh('mkfs.ext4 -qF /dev/vda; mkdir -p /scratch; mount /dev/vda /scratch');
});

afterAll(async () => {
  await guest?.[Symbol.asyncDispose]();
  for (const service of services.values()) await service[Symbol.asyncDispose]();
});

describe.each(Object.keys(STAGES))('a disk on %s', (name) => {
  let stage: Stage;
  let gateway: GuestGateway;
  const isPlain = PLAIN.includes(name);
  const seed = Math.floor(Math.random() * 2 ** 31);

  beforeAll(async () => {
    stage = await STAGES[name]!();
    await stage.prepare?.();
    gateway = await guest.startGateway(
      { disks: { disk0: { backend: stage.backend, frontend: { type: 'vduse', serial: 'SN-disk0' } } } },
      stage.env ? { env: stage.env } : {},
    );
  });

  afterAll(async () => {
    await gateway?.stop();
  });

  // A test that failed half-way must not fail those after it.
  afterEach(async () => {
    await guest.sh('for place in /mnt/disk /mnt/held; do ! mountpoint -q $place || umount $place; done');
  });

  it('has the configured size and serial', async () => {
    // Not what lsblk says of the serial number, which it has from udev, a little later.
    const shown = `lsblk -bdno SIZE,RO ${DEVICE}; cat /sys/class/block/$(basename $(readlink -f ${DEVICE}))/serial`;
    expect((await guest.sh(shown)).trim().split(/\s+/)).toEqual([String(SIZE), '0', 'SN-disk0']);
  });

  it.each(isPlain ? FIO_CASES.filter(({ depth, direct }) => depth > 1 && direct) : FIO_CASES)(
    'keeps every byte fio writes, at depth $depth, direct $direct',
    async (fio) => {
      await guest.sh(fioVerify(DEVICE, fio, seed), { timeoutMs: 600_000 });
    },
  );

  it.each<FileSystem>(isPlain ? ['ext4'] : ['ext4', 'xfs', 'btrfs'])('carries %s', async (kind) => {
    await guest.sh(fileSystem(DEVICE, kind, TREE), { timeoutMs: 600_000 });
  });

  it('discards, and writes zeros where it is told to', async () => {
    await guest.sh(discardAndZero(DEVICE));
  });

  it('fails cleanly across its end', async () => {
    await guest.sh(acrossTheEnd(DEVICE));
  });

  if (isPlain) return;

  it('gives space back when the file system trims', async () => {
    await guest.sh(trim.fill(DEVICE));
    const before = await stage.usedBytes!();
    await guest.sh(trim.release);
    // Some stores free in the background.
    const freed = async (): Promise<number> => before - (await stage.usedBytes!());
    await expect.poll(freed, { timeout: 60_000, interval: 1000 }).toBeGreaterThan(60 * MIB);
  });

  it('refuses to stop while it is mounted, and says where', async () => {
    await guest.sh(`mkfs.ext4 -qF ${DEVICE}; mkdir -p /mnt/held; mount ${DEVICE} /mnt/held`);
    try {
      await guest.sh(
        `kill -TERM $(cat ${gateway.folder}/pid); sleep 2; kill -0 $(cat ${gateway.folder}/pid)`,
      );
      expect(await gateway.log()).toContain('/mnt/held');
      await guest.sh('echo still here > /mnt/held/file; sync -f /mnt/held; cat /mnt/held/file');
    } finally {
      await guest.sh('umount /mnt/held');
    }
  });

  it('refuses writes when it is configured read-only', async () => {
    await gateway.stop();
    gateway = await guest.startGateway(
      { disks: { disk0: { backend: stage.backend, readOnly: true } } },
      stage.env ? { env: stage.env } : {},
    );
    expect((await guest.sh(`blockdev --getro ${DEVICE}`)).trim()).toBe('1');
    const write = await guest.try(`dd if=/dev/zero of=${DEVICE} bs=4096 count=1 oflag=direct`);
    expect(write.exitCode).not.toBe(0);
    await guest.sh(
      `mkdir -p /mnt/held; mount -o ro ${DEVICE} /mnt/held; cat /mnt/held/file; umount /mnt/held`,
    );
  });
});
