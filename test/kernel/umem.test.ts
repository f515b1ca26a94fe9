import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { fioVerify, fioVerifyUntil } from '../support/disk-exercises.ts';
import { Guest, type GuestGateway } from '../support/guest.ts';
import { CLOSED_TO_NOBODY, isClosedToNobody } from '../support/nobody.ts';

/** A disk whose bounce memory is the process's own (`"umem"`): what the scripted kernel cannot vouch for. */

const DEVICE = '/dev/blockgate/disk0';
const BOUNCE_KIB = 64 * 1024;

let guest: Guest;
let gateway: GuestGateway | undefined;

beforeAll(async () => {
  guest = await Guest.start();
});

afterAll(async () => {
  await guest?.[Symbol.asyncDispose]();
});

afterEach(async () => {
  await gateway?.stop();
  gateway = undefined;
});

async function pid(): Promise<number> {
  return JSON.parse(await guest.sh(`${Guest.blockgate} status disk0 --json`))[0].disks[0].report.pid;
}

/** What the process of the disk has pinned, in KiB. */
const pinned = async () =>
  Number(await guest.sh(`sed -n 's/^VmPin:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/${await pid()}/status`));

it('verifies with memory of the process, also when that dies and when its driver changes', {
  timeout: 900_000,
}, async () => {
  const backend = { type: 'file', path: '/run/umem.img', size: 512 * 2 ** 20 };
  const frontend = { type: 'vduse', queues: 2, umem: true };
  gateway = await guest.startGateway(
    { disks: { disk0: { backend, frontend } } },
    { arguments: '--log-level info' },
  );
  const seed = Math.floor(Math.random() * 2 ** 31);
  const once = { depth: 32, direct: true } as const;
  expect(await pinned()).toBe(BOUNCE_KIB);

  const over = '/run/no-more-kills';
  const fio = guest.sh(fioVerifyUntil(over, DEVICE, once, seed), { timeoutMs: 300_000 });
  fio.catch(() => undefined);
  const first = await pid();
  await guest.sh(`sleep 2; kill -KILL ${first}
    for i in {1..300}; do [ $(grep -c ${DEVICE} ${gateway.folder}/out) = 2 ] && break; sleep 0.2; done
    touch ${over}`);
  await fio;
  expect(await pid()).not.toBe(first);
  expect(await pinned()).toBe(BOUNCE_KIB);

  await guest.sh(`dd if=/dev/urandom of=/run/data bs=1M count=4 status=none
    dd if=/run/data of=${DEVICE} bs=1M oflag=direct status=none; udevadm settle
    virtio=$(basename $(dirname $(dirname $(readlink -f /sys/block/$(basename $(readlink ${DEVICE}))))))
    echo $virtio > /sys/bus/virtio/drivers/virtio_blk/unbind
    echo $virtio > /sys/bus/virtio/drivers/virtio_blk/bind
    dd if=${DEVICE} bs=1M count=4 iflag=direct status=none | cmp - /run/data`);
  expect(await pinned()).toBe(BOUNCE_KIB);
  await guest.sh(fioVerify(DEVICE, once, seed + 1000), { timeoutMs: 300_000 });

  expect(await gateway.log()).not.toContain('cannot be mapped');
  await gateway.stop();
  gateway = undefined;
  await guest.sh('test ! -e /dev/vduse/blockgate-disk0');
});

it('is refused to a user who may not pin it, and given to one who may', { timeout: 900_000 }, async ({
  skip,
}) => {
  skip(await isClosedToNobody(), CLOSED_TO_NOBODY);
  const folder = '/run/unprivileged';
  const config = {
    disks: {
      disk0: {
        backend: { type: 'file', path: '/srv/images/disk0', size: 64 * 2 ** 20 },
        frontend: { type: 'vduse', umem: true },
      },
    },
  };
  const refused = await guest.try(
    `install -d -o nobody /srv/images; chmod -fR a+rX $NODE_COMPILE_CACHE; mkdir -p ${folder}; cd ${folder}
     echo '${JSON.stringify({ version: 1, ...config })}' > plugins.json
     ulimit -l 8192; ${Guest.blockgate} run --user nobody`,
    { timeoutMs: 300_000 },
  );
  expect(refused.exitCode).not.toBe(0);
  expect(refused.stderr).toContain('may not pin 64 MiB');
  expect(refused.stderr).toContain('ulimit -l 65536');
  await guest.sh('test ! -e /dev/vduse/blockgate-disk0');

  // What root may raise is raised for the gateway, and its processes inherit it.
  gateway = await guest.startGateway(config, {
    folder: `${folder}-more`,
    arguments: '--user nobody',
    memoryLock: BOUNCE_KIB,
  });
  expect(await pinned()).toBe(BOUNCE_KIB);
  expect(await guest.sh(`grep ^Uid: /proc/${await pid()}/status`)).toContain('65534');
  await guest.sh(`dd if=/dev/urandom of=/run/data bs=1M count=4 status=none
    dd if=/run/data of=${DEVICE} bs=1M oflag=direct status=none
    dd if=${DEVICE} bs=1M count=4 iflag=direct status=none | cmp - /run/data`);
});
