import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { fioVerifyUntil } from '../support/disk-exercises.ts';
import { Guest, type GuestGateway } from '../support/guest.ts';

/**
 * Processes killed with SIGKILL in the middle of everything. `BLOCKGATE_TEST_KILLS=200` for a long run.
 */

const KILLS = Number(process.env['BLOCKGATE_TEST_KILLS'] ?? 5);
const DEVICE = '/dev/blockgate/disk0';
const backend = { type: 'file', path: '/run/crash.img', size: 512 * 2 ** 20 };
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

describe.each(['split', 'packed'])('a disk with %s rings whose processes are killed', (ring) => {
  const frontend = { type: 'vduse', ring, queues: 2, queueSize: 64 };
  const config = { disks: { disk0: { backend, frontend } } };
  const times = Math.ceil(KILLS / 2);
  let running: GuestGateway | undefined;

  async function serve(folder?: string): Promise<GuestGateway> {
    const options = { arguments: '--log-level info', ...(folder && { folder }) };
    running = await guest.startGateway(config, options);
    return running;
  }

  // A test that failed half-way must not fail those after it.
  afterEach(async () => {
    await running?.stop();
    running = undefined;
  });

  it(`has no error and no wrong byte for fio, ${times} times`, async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const { folder } = await serve();
    const over = '/run/no-more-kills';
    const fio = guest.sh(fioVerifyUntil(over, DEVICE, { depth: 32, direct: true }, seed), {
      timeoutMs: 120_000 + times * 60_000,
    });
    // Whatever happens below, fio's own failure is the one to report.
    fio.catch(() => undefined);
    for (let kills = 1; kills <= times; kills++) {
      await delay(Math.random() * LIFE_MS);
      await guest.sh(`read -r pid < ${folder}/pid; kill -KILL -- -$pid`);
      if (kills < times && kills % 2 === 0) {
        kills++;
        await guest.sh(`
          cd ${folder}; setsid ${Guest.blockgate} run > early-out 2> early-err < /dev/null & pid=$!
          sleep ${((Math.random() * LAUNCH_MS) / 1000).toFixed(3)}; kill -KILL -- -$pid`);
      }
      const successor = await serve(folder);
      expect(await successor.log()).toContain('serving a device again');
    }
    await guest.sh(`touch ${over}`);
    await fio;
    await running!.stop();
    expect((await guest.try('ls /run/blockgate/*.inflight')).exitCode).not.toBe(0);
  });
});
