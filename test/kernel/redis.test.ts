import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ensureDebianPackages } from '../../core/vm/debian-packages.ts';
import { discardAndZero, fileSystem, fioVerify, fioVerifyUntil } from '../support/disk-exercises.ts';
import { Guest, type GuestGateway } from '../support/guest.ts';

/** Volumes in a real Redis server as disks of the real kernel. The server runs in the guest. */

const DEVICE = '/dev/blockgate/disk0';
const SOCKET = '/run/redis.sock';
const TREE = join(import.meta.dirname, '..', '..', 'node_modules', 'zod', 'v4');

let guest: Guest;
let gateway: GuestGateway | undefined;

beforeAll(async () => {
  await ensureDebianPackages(['redis-server'], (line) => process.stderr.write(`${line}\n`));
  guest = await Guest.start();
});

afterEach(async () => {
  await gateway?.stop();
  gateway = undefined;
  await guest.try(`pkill -KILL redis-server; rm -rf ${SOCKET} /run/redis`);
});

afterAll(async () => {
  await guest?.[Symbol.asyncDispose]();
});

const startServer = () =>
  guest.sh(
    `mkdir -p /run/redis; rm -f ${SOCKET}
     redis-server --port 0 --unixsocket ${SOCKET} --dir /run/redis --save '' --appendonly yes --appendfsync always \
       --daemonize yes --logfile /run/redis/log --pidfile /run/redis/pid
     for i in {1..300}; do redis-cli -s ${SOCKET} PING 2>/dev/null | grep -q PONG && exit 0; sleep 0.1; done
     cat /run/redis/log >&2; exit 1`,
  );

/** A disk does not begin again with an empty volume of the name that it had. */
let volumes = 0;

async function serve(): Promise<void> {
  const backend = { type: 'redis', socket: SOCKET, volume: `volume${volumes++}`, size: '512MiB' };
  gateway = await guest.startGateway({ disks: { disk0: { backend } } });
}

describe('a disk in Redis', () => {
  it('verifies, carries a file system, and gives back what is discarded', async () => {
    await startServer();
    await serve();
    const seed = Math.floor(Math.random() * 2 ** 31);
    await guest.sh(fioVerify(DEVICE, { depth: 32, direct: true }, seed));
    await guest.sh(fileSystem(DEVICE, 'ext4', TREE));
    await guest.sh(discardAndZero(DEVICE));
    await guest.sh(`blkdiscard ${DEVICE}`);
    // What describes the volume, and whose it is.
    expect(Number(await guest.sh(`redis-cli -s ${SOCKET} DBSIZE`))).toBeLessThanOrEqual(4);
  });

  it('has no error and no wrong byte when its server is killed in the middle of fio', async () => {
    await startServer();
    await serve();
    const over = '/run/no-more-kills';
    const seed = Math.floor(Math.random() * 2 ** 31);
    const fio = guest.sh(fioVerifyUntil(over, DEVICE, { depth: 32, direct: true }, seed));
    fio.catch(() => undefined);
    for (let kills = 0; kills < 2; kills++) {
      await guest.sh('sleep 2; pkill -KILL redis-server; sleep 0.5');
      await startServer();
    }
    await guest.sh(`touch ${over}`);
    await fio;
    const { stdout } = await guest.try(`cd ${gateway!.folder}; ${Guest.blockgate} status disk0`);
    expect(stdout).toMatch(/backend +state connected, durability aof, recoveries [1-9]/);
  });
});
