import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Guest } from '../support/guest.ts';
import type { AbsentPagesReport } from './programs/absent-pages.ts';
import type { VduseDiskPlan, VduseDiskReport } from './programs/vduse-disk.ts';

/** The vduse frontend on the real kernel: what the scripted one cannot vouch for. */

const PROGRAM = join(import.meta.dirname, 'programs', 'vduse-disk.ts');
/** `BLOCKGATE_TEST_CYCLES=500` for a long run. */
const CYCLES = Number(process.env['BLOCKGATE_TEST_CYCLES'] ?? 10);

let guest: Guest;
let disks = 0;

beforeAll(async () => {
  guest = await Guest.start();
  // As on any machine: udev looks into every new disk, and tells lsblk its serial number.
  await guest.sh('pgrep systemd-udevd || /lib/systemd/systemd-udevd --daemon');
});

afterAll(async () => {
  await guest?.[Symbol.asyncDispose]();
});

function freshPlan(plan: Partial<VduseDiskPlan> = {}): VduseDiskPlan {
  const folder = `/run/vduse-${++disks}`;
  return { size: 64 * 2 ** 20, image: `${folder}/image`, stateDir: `${folder}/state`, ...plan };
}

const command = (plan: VduseDiskPlan): string =>
  `mkdir -p ${plan.stateDir}; node ${PROGRAM} '${JSON.stringify(plan).replaceAll("'", "'\\''")}'`;

async function run(plan: VduseDiskPlan, before = ''): Promise<VduseDiskReport> {
  const timeoutMs = 600_000 + (plan.cycles ?? 0) * 5_000;
  return JSON.parse(await guest.sh(`${before}\n${command(plan)}`, { timeoutMs })) as VduseDiskReport;
}

describe('a VDUSE disk', () => {
  it('shows its size, serial number and limits, and serves what is written', async () => {
    const { outputs, statuses } = await run(
      freshPlan({
        config: { serial: 'SN-0123456789abcdef0', queueSize: 128 },
        scripts: [
          'udevadm settle; lsblk -bdno SIZE,SERIAL $DISK',
          'cat /sys/block/$(basename $(readlink $DISK))/queue/{max_segments,max_segment_size}',
          'dd if=/dev/urandom of=/run/data bs=1M count=8 status=none; dd if=/run/data of=$DISK bs=1M oflag=direct status=none; dd if=$DISK bs=1M count=8 iflag=direct status=none | cmp - /run/data',
        ],
      }),
    );
    expect(statuses).toEqual([0, 0, 0]);
    expect(outputs[0]!.trim().split(/\s+/)).toEqual([String(64 * 2 ** 20), 'SN-0123456789abcdef0']);
    expect(outputs[1]).toBe('126\n65536\n');
  });

  it.each([
    ['what the kernel gives', { queueSize: 1024 }],
    ['the least a queue of 8 can have', { queueSize: 8, bounceSize: '1MiB' }],
    // 12 segments of 64 KiB and what is beside them: not a page less would do.
    ['the least there is', { ring: 'packed', queueSize: 14, bounceSize: '1MiB' }],
  ])(
    'takes requests far larger than a segment, several at once, with bounce memory of %s',
    async (_, config) => {
      const { statuses } = await run(
        freshPlan({
          config,
          scripts: [
            'echo 16384 > /sys/block/$(basename $(readlink $DISK))/queue/max_sectors_kb',
            'for i in 1 2 3 4; do dd if=$DISK of=/dev/null bs=16M iflag=direct status=none & done; wait',
          ],
        }),
      );
      expect(statuses).toEqual([0, 0]);
    },
  );

  it('survives a driver that names pages of the bounce memory which do not exist', async () => {
    const program = join(import.meta.dirname, 'programs', 'absent-pages.ts');
    const folder = `/run/vduse-${++disks}`;
    const output = await guest.sh(`mkdir -p ${folder}; node ${program} ${folder}`);
    const { present, pages, answers, onPresentPages } = JSON.parse(output) as AbsentPagesReport;
    expect(present).toBeGreaterThan(0);
    expect(present).toBeLessThan(pages / 2);
    const IOERR = 1;
    const NONE = 0xee;
    expect(answers).toEqual({
      'a header': { written: 0, status: IOERR },
      'a payload': { written: 0, status: IOERR },
      'a status': { written: 0, status: NONE },
      'an indirect table': { written: 0, status: NONE },
    });
    expect(onPresentPages).toEqual({ written: 513, status: 0 });
  });

  it('serves several queues', async () => {
    const { outputs, statuses } = await run(
      freshPlan({
        config: { queues: 4 },
        scripts: [
          'ls /sys/block/$(basename $(readlink $DISK))/mq | wc -l',
          'fio --name=t --filename=$DISK --rw=randrw --bs=4k --size=4m --numjobs=2 --offset_increment=8m --direct=1 --ioengine=libaio --iodepth=8 --verify=crc32c --do_verify=1 --output=/dev/null',
        ],
      }),
    );
    expect(outputs[0]).toBe('2\n');
    expect(statuses).toEqual([0, 0]);
  });

  it.each([
    ['packed, of a size that split ones cannot have', { ring: 'packed', queueSize: 100 }, ['1', '1', '1']],
    [
      'split, without event index and indirect descriptors',
      { eventIdx: false, indirect: false },
      ['0', '0', '0'],
    ],
  ])('serves virtqueues that are %s', async (_name, config, bits) => {
    const { outputs, statuses } = await run(
      freshPlan({
        config,
        scripts: [
          // INDIRECT_DESC, EVENT_IDX and RING_PACKED, as the driver has chosen.
          `features=$(< $(dirname $(dirname $(readlink -f /sys/block/$(basename $(readlink $DISK)))))/features)
           echo \${features:28:1} \${features:29:1} \${features:34:1}`,
          'fio --name=t --filename=$DISK --rw=randrw --bsrange=4k-128k --size=8m --direct=1 --ioengine=libaio --iodepth=16 --verify=crc32c --do_verify=1 --output=/dev/null',
          `mkfs.ext4 -qF $DISK; mkdir -p /mnt/ring; mount $DISK /mnt/ring
           head -c 4M /dev/urandom | tee /mnt/ring/file | sha256sum > /run/sum; umount /mnt/ring
           mount $DISK /mnt/ring; sha256sum < /mnt/ring/file | cmp - /run/sum; umount /mnt/ring; e2fsck -fn $DISK`,
        ],
      }),
    );
    expect(outputs[0]!.trim().split(' ')).toEqual(bits);
    expect(statuses).toEqual([0, 0, 0]);
  });

  it('gets the driver for local disks though vhost_vdpa was there first', async () => {
    const { outputs } = await run(
      freshPlan({ scripts: ['readlink /sys/bus/vdpa/devices/blockgate-disk0/driver | xargs basename'] }),
      'modprobe -r virtio_vdpa; modprobe vduse; modprobe vhost_vdpa',
    );
    expect(outputs).toEqual(['virtio_vdpa\n']);
    await guest.sh('modprobe -r vhost_vdpa');
  });

  it('knows who uses it: mounts, processes, swap, loop devices', async () => {
    const { statuses, holders } = await run(
      freshPlan({
        scripts: [
          `mkfs.ext4 -qF $DISK
           mkdir -p '/mnt/a disk'; mount $DISK '/mnt/a disk'
           sleep 1000 < $DISK > /dev/null 2>&1 & echo $! > /run/sleeper
           modprobe loop; losetup -f --show $DISK > /run/loop`,
        ],
      }),
    );
    expect(statuses).toEqual([0]);
    expect(holders).toContain('mount: mounted at /mnt/a disk');
    expect(holders).toContainEqual(expect.stringMatching(/^process: pid \d+ \(sleep\)$/));
    expect(holders).toContain('block-device: block device loop0 is built on it');
    await guest.sh("kill $(cat /run/sleeper); umount -l '/mnt/a disk'; losetup -d $(cat /run/loop)");
  });

  it('has everything that was written when it is stopped by force', async () => {
    const plan = freshPlan({
      scripts: [
        `sleep 1000 <> $DISK > /dev/null 2>&1 & echo $! > /run/sleeper
         dd if=/dev/urandom of=/run/dirty bs=1M count=16 status=none
         cat /run/dirty > $DISK`,
      ],
    });
    await run(plan);
    await guest.sh(`cmp -n ${16 * 2 ** 20} /run/dirty ${plan.image}; kill $(cat /run/sleeper)`);
  });

  it('is served again after its process was killed, when nothing was in flight', async () => {
    const plan = freshPlan({
      scripts: ['dd if=/dev/urandom of=$DISK bs=1M count=4 oflag=direct status=none; udevadm settle'],
    });
    const killed = await guest.try(command({ ...plan, die: true }));
    expect(killed.exitCode).toBe(137);
    await guest.sh('test -e /sys/bus/vdpa/devices/blockgate-disk0');
    const { statuses } = await run({
      ...plan,
      scripts: [
        `cmp -n ${4 * 2 ** 20} $DISK ${plan.image}`,
        'dd if=/dev/zero of=$DISK bs=4k count=1 oflag=direct',
      ],
    });
    expect(statuses).toEqual([0, 0]);
    await guest.sh('test ! -e /dev/vduse/blockgate-disk0');
  });

  it('notices that the kernel has given it up', async () => {
    // The process is stopped; a message to it is not answered within the shortest msg_timeout.
    const plan = freshPlan({
      config: { msgTimeout: 10 },
      untilClosed: true,
      scripts: [
        `virtio=$(basename $(dirname $(dirname $(readlink -f /sys/block/$(basename $(readlink $DISK))))))
         setsid bash -c "kill -STOP $PPID; timeout 30 sh -c 'echo $virtio > /sys/bus/virtio/drivers/virtio_blk/unbind'; kill -CONT $PPID" > /dev/null 2>&1 &`,
      ],
    });
    expect((await run(plan)).closed).toBe('vduse.device-broken');
    await guest.sh('test ! -e /dev/vduse/blockgate-disk0');
  });

  it('notices that somebody else has detached it', async () => {
    const detach = join(import.meta.dirname, '../../frontends/vduse/vdpa-main.ts');
    const plan = freshPlan({
      untilClosed: true,
      scripts: [`echo '{"command":"remove","name":"blockgate-disk0"}' | node ${detach}`],
    });
    expect((await run(plan)).closed).toBe('vduse.detached');
  });

  it(`leaves nothing behind in ${CYCLES} attachments`, {
    timeout: 900_000 + CYCLES * 5_000,
  }, async () => {
    const { first, last } = await run(freshPlan({ cycles: CYCLES }));
    expect(last).toEqual(first);
    expect(last).toMatchObject({ mappings: 0, disks: 0, nodes: 0, bus: 0, links: 0 });
    expect(last['children']).toBeLessThanOrEqual(1);
    await guest.sh('test ! -e /dev/blockgate; ! pgrep -f vdpa-main');
  });
});
