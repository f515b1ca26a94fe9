import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Guest, type GuestGateway } from '../support/guest.ts';

/** A running gateway on the real kernel, as its operator handles it. */

const MIB = 2 ** 20;
const DISK = '/dev/blockgate/disk0';
const CONFIG = { disks: { disk0: { backend: { type: 'file', path: 'disk0.img', size: 64 * MIB } } } };

let guest: Guest;
let gateway: GuestGateway;

beforeAll(async () => {
  guest = await Guest.start();
  gateway = await guest.startGateway(CONFIG);
});

afterAll(async () => {
  await guest?.[Symbol.asyncDispose]();
});

interface Status {
  readonly state: string;
  readonly restarts: number;
  readonly report: { readonly pid: number; readonly frontend: Record<string, unknown> };
}

async function status(): Promise<Status> {
  return JSON.parse(await guest.sh(`${Guest.blockgate} status disk0 --json`))[0].disks[0] as Status;
}

/** Waits for a line in what the gateway prints. */
const printed = (pattern: string) =>
  guest.sh(`for i in {1..300}; do grep -q '${pattern}' ${gateway.folder}/out ${gateway.folder}/err && exit 0
            sleep 0.2; done; cat ${gateway.folder}/out ${gateway.folder}/err >&2; exit 1`);

describe('a running gateway', () => {
  it('says how its disk is', async () => {
    expect(await status()).toMatchObject({
      state: 'running',
      restarts: 0,
      report: {
        frontend: {
          device: 'blockgate-disk0',
          driver: 'virtio_vdpa',
          driving: true,
          queues: 1,
          features: expect.arrayContaining(['VERSION_1', 'FLUSH', 'EVENT_IDX']),
        },
      },
    });
  });

  it('starts a disk again whose process was killed, and the device is the same', async () => {
    await guest.sh(
      `udevadm settle; dd if=/dev/urandom of=/run/data bs=1M count=4 status=none
       dd if=/run/data of=${DISK} bs=1M oflag=direct status=none; udevadm settle
       readlink ${DISK} > /run/node`,
    );
    await guest.sh(`kill -KILL ${(await status()).report.pid}`);
    await printed('starting again');
    await guest.sh(
      `for i in {1..300}; do [ $(grep -c ${DISK} ${gateway.folder}/out) = 2 ] && break; sleep 0.2; done
       readlink ${DISK} | cmp - /run/node
       dd if=${DISK} bs=1M count=4 iflag=direct status=none | cmp - /run/data
       dd if=/run/data of=${DISK} bs=1M seek=8 oflag=direct status=none`,
    );
    expect(await status()).toMatchObject({ state: 'running', restarts: 1 });
  });

  it('does not take a mounted disk away, and says where it is mounted', async () => {
    await guest.sh(`mkfs.ext4 -qF ${DISK}; mkdir -p /mnt/disk; mount ${DISK} /mnt/disk`);
    const { exitCode, stderr } = await guest.try(`${Guest.blockgate} detach disk0`);
    expect(exitCode).toBe(4);
    expect(stderr).toContain('mounted at /mnt/disk');
    await guest.sh('echo still here > /mnt/disk/file; sync -f /mnt/disk');
  });

  it('hands a disk in use to a new process, and whoever writes notices nothing', async () => {
    const before = await status();
    const upgrade = await guest.sh(
      `( i=0; while [ ! -e /run/enough ]; do
           dd if=/run/data of=/mnt/disk/$((i++ % 4)) bs=1M conv=fsync status=none || touch /run/failed
           sleep 0.2
         done ) & writer=$!
       ${Guest.blockgate} upgrade disk0 --json
       touch /run/enough; wait $writer; test ! -e /run/failed
       for i in 0 1 2 3; do cmp /run/data /mnt/disk/$i; done; cat /mnt/disk/file >&2`,
    );
    const { pausedMs } = JSON.parse(upgrade) as { pausedMs: number };
    process.stderr.write(`I/O was paused for ${pausedMs} ms, under emulation\n`);
    expect((await status()).report.pid).not.toBe(before.report.pid);
  });

  it('grows a disk under its file system', async () => {
    const size = 128 * MIB;
    await guest.sh(
      `${Guest.blockgate} resize disk0 128MiB
       for i in {1..100}; do [ $(blockdev --getsize64 ${DISK}) = ${size} ] && break; sleep 0.1; done
       [ $(blockdev --getsize64 ${DISK}) = ${size} ]
       resize2fs ${DISK}; dd if=/dev/zero of=/mnt/disk/big bs=1M count=80 conv=fsync status=none`,
    );
  });

  it('takes a disk away by force, says from whom, and ends with its last disk', async () => {
    const { exitCode, stderr } = await guest.try(`${Guest.blockgate} detach disk0 --force`);
    expect(stderr).toContain('mounted at /mnt/disk');
    expect(exitCode).toBe(0);
    await guest.sh(
      `umount -l /mnt/disk; read -r pid < ${gateway.folder}/pid
       for i in {1..100}; do kill -0 $pid 2>/dev/null || break; sleep 0.2; done
       ! kill -0 $pid 2>/dev/null; test ! -e /dev/vduse/blockgate-disk0; test ! -e ${DISK}`,
    );
  });
});

describe('a gateway that was killed with its disk', () => {
  it('leaves a device that can be destroyed', async () => {
    const killed = await guest.startGateway(CONFIG, { arguments: '--in-process' });
    await guest.sh(
      `udevadm settle; kill -KILL $(cat ${killed.folder}/pid)
       test -e /sys/bus/vdpa/devices/blockgate-disk0
       ${Guest.blockgate} destroy
       test ! -e /dev/vduse/blockgate-disk0; test ! -e ${DISK}; test ! -e /sys/bus/vdpa/devices/blockgate-disk0`,
    );
  });
});
