import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Guest, type GuestGateway } from '../support/guest.ts';
import { CLOSED_TO_NOBODY, isClosedToNobody } from '../support/nobody.ts';

/** A disk that is served by nobody, literally, on the real kernel. */

const DISK = '/dev/blockgate/disk0';
const RULES = join(import.meta.dirname, '../../packaging/udev/60-blockgate.rules');

let guest: Guest;
let gateway: GuestGateway;

/** What is known of the process that serves the disk. */
const STATUS = 'cd /proc/$(pgrep -f disk-process.ts); cat status; readlink fd/* | grep vduse';

const isClosed = await isClosedToNobody();

beforeAll(async () => {
  if (isClosed) return;
  guest = await Guest.start();
  await guest.sh(
    `install -D -t /run/udev/rules.d ${RULES}; udevadm control --reload
     install -d -o nobody /srv/images
     # What was compiled for root is good enough for nobody.
     chmod -fR a+rX $NODE_COMPILE_CACHE || true`,
  );
  gateway = await guest.startGateway(
    { disks: { disk0: { backend: { type: 'file', path: '/srv/images/disk0', size: '64MiB' } } } },
    { arguments: '--user nobody' },
  );
});

afterAll(async () => {
  await guest?.[Symbol.asyncDispose]();
});

beforeEach(({ skip }) => {
  skip(isClosed, CLOSED_TO_NOBODY);
});

describe('a disk that is served by an unprivileged user', () => {
  it('is served by a process that is not root and has no capability', async () => {
    const status = await guest.sh(STATUS);
    expect(status).toMatch(/^Uid:(\t65534){4}$/m);
    expect(status).toMatch(/^CapEff:\t0+$/m);
    expect(status).toMatch(/^CapPrm:\t0+$/m);
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    expect(status).toContain('/dev/vduse/blockgate-disk0');
    expect(status).not.toContain('/dev/vduse/control');
  });

  it('keeps what is written', async () => {
    await guest.sh(
      `dd if=/dev/urandom of=/run/data bs=1M count=8 status=none
       dd if=/run/data of=${DISK} bs=1M oflag=direct conv=fsync status=none
       dd if=${DISK} bs=1M count=8 iflag=direct status=none | cmp - /run/data
       cmp -n ${8 * 2 ** 20} /run/data /srv/images/disk0
       [ $(stat -c %U /srv/images/disk0) = nobody ]`,
    );
  });

  it('has the name and the settings that the rules of udev give it', async () => {
    await guest.sh(
      `udevadm settle
       disk=$(basename $(readlink -f ${DISK}))
       [ $(readlink -f /dev/disk/by-id/virtio-disk0) = /dev/$disk ]
       [ $(cat /sys/block/$disk/queue/rotational) = 0 ]`,
    );
  });

  it('is not stopped while a process of root has it open, and goes without a trace afterwards', async () => {
    await guest.sh(
      `sleep 1000 < ${DISK} > /dev/null 2>&1 & echo $! > /run/sleeper
       kill -TERM $(cat ${gateway.folder}/pid)
       for attempt in {1..100}; do grep -q sleep ${gateway.folder}/err && break; sleep 0.2; done
       grep -q 'pid .* (sleep)' ${gateway.folder}/err; kill $(cat /run/sleeper)`,
    );
    await gateway.stop();
    await guest.sh(
      '! pgrep -f helper-main; ! pgrep -f blockgate-helper; [ ! -e /sys/bus/vdpa/devices/blockgate-disk0 ]',
    );
  });
});
