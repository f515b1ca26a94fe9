import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { fioVerifyUntil } from '../support/disk-exercises.ts';
import { FIND_SERVER } from '../support/find-server.ts';
import { Guest, type GuestGateway } from '../support/guest.ts';

/**
 * Processes killed with SIGKILL, and stopped with SIGSTOP, in the middle of everything: the gateway with one layout of rings,
 * the disk's process with the other. `BLOCKGATE_TEST_KILLS=200` for a long run, of each with both.
 */

const KILLS = Number(process.env['BLOCKGATE_TEST_KILLS'] ?? 2);
const isLong = KILLS > 2;
/** `msgTimeout`, in seconds; a process sleeps ten more. `BLOCKGATE_TEST_MSG_TIMEOUT=30` for a long run. */
const MSG_TIMEOUT_S = Number(process.env['BLOCKGATE_TEST_MSG_TIMEOUT'] ?? 10);
const DEVICE = '/dev/blockgate/disk0';
const backend = { type: 'file', path: '/run/crash.img', size: 512 * 2 ** 20 };
/** From when a gateway serves the disk to when it is killed. */
const LIFE_MS = 2_000;
/** From when another process stands by to when the disk's is killed, at least. A later death is followed by a start at once. Seconds. */
const UNDISTURBED_S = 5;
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
  const disk = { backend, frontend };
  const times = Math.ceil(KILLS / 2);
  let running: GuestGateway | undefined;

  async function serve(disk0: object, folder?: string): Promise<GuestGateway> {
    const config = { disks: { disk0 } };
    const options = { arguments: '--log-level info', ...(folder && { folder }) };
    running = await guest.startGateway(config, options);
    return running;
  }

  // A test that failed half-way must not fail those after it.
  afterEach(async () => {
    await running?.stop();
    running = undefined;
  });

  /** Runs `kill` while fio verifies, and once more to the end after that. Fio's own failure is the one to report. */
  async function duringFio(kill: () => Promise<void>): Promise<void> {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const over = '/run/no-more-kills';
    const fio = guest.sh(fioVerifyUntil(over, DEVICE, { depth: 32, direct: true }, seed), {
      timeoutMs: 120_000 + times * 60_000,
    });
    fio.catch(() => undefined);
    await kill();
    await guest.sh(`touch ${over}`);
    await fio;
    await running!.stop();
    expect((await guest.try('ls /run/blockgate/*.inflight')).exitCode).not.toBe(0);
  }

  const theGateway = async () => {
    const { folder } = await serve(disk);
    await duringFio(async () => {
      for (let kills = 1; kills <= times; kills++) {
        await delay(Math.random() * LIFE_MS);
        await guest.sh(`read -r pid < ${folder}/pid; kill -KILL -- -$pid`);
        if (kills < times && kills % 2 === 0) {
          kills++;
          await guest.sh(`
            cd ${folder}; setsid ${Guest.blockgate} run > early-out 2> early-err < /dev/null & pid=$!
            sleep ${((Math.random() * LAUNCH_MS) / 1000).toFixed(3)}; kill -KILL -- -$pid`);
        }
        const successor = await serve(disk, folder);
        expect(await successor.log()).toContain('serving a device again');
      }
    });
  };

  const theProcess = async () => {
    await serve({ ...disk, standby: true });
    await duringFio(async () => {
      const pauses = (
        await guest.sh(killDiskProcess(times, `${running!.folder}/err`), {
          timeoutMs: 60_000 + times * 60_000,
        })
      )
        .split('\n')
        .filter((line) => line !== '')
        .map(Number)
        .sort((a, b) => a - b);
      expect(pauses).toHaveLength(times);
      const at = (share: number) => pauses[Math.ceil(share * times) - 1];
      process.stderr.write(
        `${ring}: I/O stood still for ${at(0.5)} ms (median), ${at(0.99)} ms (p99), under emulation\n`,
      );
    });
  };

  const title = (who: string) => `has no error and no wrong byte for fio when ${who} dies, ${times} times`;
  const timeout = 900_000 + times * 60_000;
  if (ring === 'split' || isLong) it(title('the gateway'), { timeout }, theGateway);
  if (ring === 'packed' || isLong) it(title("the disk's process"), { timeout }, theProcess);

  // Nothing of it depends on the layout.
  if (ring === 'packed') return;

  it('has no error and no wrong byte for fio when its process sleeps for longer than a message may take', async () => {
    await serve({ ...disk, frontend: { ...frontend, msgTimeout: MSG_TIMEOUT_S } });
    await duringFio(async () => {
      await guest.sh(`${FIND_SERVER}
        server; pid=$REPLY; kill -STOP $pid; sleep ${MSG_TIMEOUT_S + 10}; kill -CONT $pid; sleep 2`);
    });
  });
});

/**
 * Kills whoever serves the device, `times` times, each after a random moment of undisturbed I/O and with another process
 * standing by. Prints how long nothing was completed, in milliseconds, one line each.
 */
function killDiskProcess(times: number, log: string): string {
  return `
    mkfifo /run/never; exec 9<> /run/never; rm /run/never
    nap() { read -r -t "$1" <&9 || true; }
    device=$(readlink --canonicalize ${DEVICE}); stat=/sys/block/\${device##*/}/stat
    # Completed reads, writes, discards and flushes; what is left out moves without anything being completed.
    completed() { read -r r _ _ _ w _ _ _ _ _ _ d _ _ _ f _ < $stat; REPLY=$r/$w/$d/$f; }
    ${FIND_SERVER}
    progress() { completed; local before=$REPLY; while completed; [ "$REPLY" = "$before" ]; do nap 0.01; done; }
    for ((kills = 0; kills < ${times}; kills++)); do
      while [ $(grep -c 'stands by' ${log}) -le $kills ]; do nap 0.5; done
      progress; nap $((${UNDISTURBED_S} + RANDOM % 3)).$((RANDOM % 1000 + 1000))
      while server; [ -z "$REPLY" ]; do nap 0.1; done
      kill -KILL "$REPLY"; since=\${EPOCHREALTIME/./}
      progress
      echo $(( (\${EPOCHREALTIME/./} - since) / 1000 ))
    done`;
}
