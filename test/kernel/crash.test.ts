import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fioVerifyUntil } from '../support/disk-exercises.ts';
import { Guest } from '../support/guest.ts';

/**
 * Processes killed with SIGKILL in the middle of everything. `BLOCKGATE_TEST_KILLS=200` for a long run.
 */

const KILLS = Number(process.env['BLOCKGATE_TEST_KILLS'] ?? 5);
const DEVICE = '/dev/blockgate/disk0';
const CONFIG = {
  disks: {
    disk0: {
      backend: { type: 'file', path: '/scratch/crash.img', size: 512 * 2 ** 20 },
      frontend: { type: 'vduse', queues: 2, queueSize: 64 },
    },
  },
};
/** From when a gateway serves the disk to when it is killed. */
const LIFE_MS = 2_000;
/** From when it is launched: so some are killed while they adopt the device. */
const LAUNCH_MS = 6_000;

let guest: Guest;

beforeAll(async () => {
  guest = await Guest.start();
});

afterAll(async () => {
  await guest?.[Symbol.asyncDispose]();
});

describe('a disk whose processes are killed', () => {
  it(`has no error and no wrong byte for fio, ${KILLS} times`, async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    let gateway = await guest.startGateway(CONFIG);
    const { folder } = gateway;
    const over = '/run/no-more-kills';
    const fio = guest.sh(fioVerifyUntil(over, DEVICE, { depth: 32, direct: true }, seed), {
      timeoutMs: 120_000 + KILLS * 60_000,
    });
    // Whatever happens below, fio's own failure is the one to report.
    fio.catch(() => undefined);
    for (let kills = 1; kills <= KILLS; kills++) {
      await delay(Math.random() * LIFE_MS);
      await guest.sh(`read -r pid < ${folder}/pid; kill -KILL -- -$pid`);
      if (kills < KILLS && kills % 2 === 0) {
        kills++;
        await guest.sh(`
          cd ${folder}; setsid ${Guest.blockgate} run > early-out 2> early-err < /dev/null & pid=$!
          sleep ${((Math.random() * LAUNCH_MS) / 1000).toFixed(3)}; kill -KILL -- -$pid`);
      }
      gateway = await guest.startGateway(CONFIG, { folder });
      expect(await gateway.log()).toContain('serving a device again');
    }
    await guest.sh(`touch ${over}`);
    await fio;
    await gateway.stop();
    expect((await guest.try('ls /run/blockgate/*.inflight')).exitCode).not.toBe(0);
  });
});
