import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ensureDebianPackages } from '../../core/vm/debian-packages.ts';
import { discardAndZero, fileSystem, fioVerify, fioVerifyUntil } from '../support/disk-exercises.ts';
import { Guest, type GuestGateway } from '../support/guest.ts';
import { makeCertificates } from '../support/nbd-servers.ts';
import { tempFolder } from '../support/temp-folder.ts';

/** Exports of real NBD servers as disks of the real kernel. The servers run in the guest. */

const DEVICE = '/dev/blockgate/disk0';
const SOCKET = '/run/nbd.sock';
const SIZE = '512M';
const TREE = join(import.meta.dirname, '..', '..', 'node_modules', 'zod', 'v4');

let guest: Guest;
let gateway: GuestGateway | undefined;
const folder = tempFolder();

beforeAll(async () => {
  await ensureDebianPackages(['nbdkit', 'qemu-utils', 'nbd-server', 'nbd-client', 'openssl'], (line) =>
    process.stderr.write(`${line}\n`),
  );
  await makeCertificates(folder.path);
  guest = await Guest.start();
  await guest.sh(
    `printf '[generic]\\nunixsock = ${SOCKET}\\n[disk]\\nexportname = /run/image\\nflush = true\\nfua = true\\ntrim = true\\n' > /run/nbd.conf`,
  );
});

afterEach(async () => {
  await gateway?.stop();
  gateway = undefined;
  await guest.try(
    `pkill -KILL nbdkit; pkill -KILL qemu-nbd; pkill -KILL nbd-server; rm -f /run/image ${SOCKET}`,
  );
});

afterAll(async () => {
  await guest?.[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

const start = (command: string) =>
  guest.sh(
    `rm -f ${SOCKET}; setsid ${command} > /run/nbd.log 2>&1 < /dev/null &
     for i in {1..100}; do [ -S ${SOCKET} ] && exit 0; sleep 0.1; done; cat /run/nbd.log >&2; exit 1`,
  );

async function serve(uri: string, more: object = {}): Promise<void> {
  const backend = { type: 'nbd', uri, ...more };
  gateway = await guest.startGateway({ disks: { disk0: { backend } } });
}

describe('a disk on', () => {
  it.each([
    ['nbdkit', `nbdkit -U ${SOCKET} memory ${SIZE}`, '', 4],
    [
      'qemu-nbd',
      `qemu-nbd -t -k ${SOCKET} --shared=8 -f raw --discard=unmap --detect-zeroes=off /run/image`,
      '',
      4,
    ],
    ['nbd-server', 'nbd-server -C /run/nbd.conf', 'disk', 1],
  ])(
    '%s verifies, and all but the last carry a file system',
    async (name, command, exportName, connections) => {
      await guest.sh(`truncate -s ${SIZE} /run/image`);
      await start(command);
      await serve(`nbd+unix:///${exportName}?socket=${SOCKET}`, { connections });
      const { stdout } = await guest.try(`cd ${gateway!.folder}; ${Guest.blockgate} status disk0`);
      expect(stdout).toContain(`connections ${connections}`);
      const seed = Math.floor(Math.random() * 2 ** 31);
      await guest.sh(fioVerify(DEVICE, { depth: 32, direct: true }, seed));
      if (name !== 'nbd-server')
        await guest.sh(fileSystem(DEVICE, name === 'qemu-nbd' ? 'xfs' : 'ext4', TREE));
      if (name === 'nbdkit') await guest.sh(discardAndZero(DEVICE));
    },
  );

  it('nbdkit with TLS verifies', async () => {
    // The guest's /tmp is its own.
    for (const file of ['ca-cert', 'server-cert', 'server-key', 'client-cert', 'client-key']) {
      const pem = readFileSync(folder.file(`${file}.pem`), 'utf8');
      await guest.sh(`mkdir -p /run/pki; cat > /run/pki/${file}.pem <<'PEM'\n${pem}PEM`);
    }
    await start(
      `nbdkit -U ${SOCKET} --tls=require --tls-certificates=/run/pki --tls-verify-peer memory ${SIZE}`,
    );
    const pki = {
      ca: '/run/pki/ca-cert.pem',
      cert: '/run/pki/client-cert.pem',
      key: '/run/pki/client-key.pem',
    };
    await serve(`nbds+unix:///?socket=${SOCKET}`, { connections: 4, tls: { ...pki, hostname: 'localhost' } });
    await guest.sh(fioVerify(DEVICE, { depth: 32, direct: true }, Math.floor(Math.random() * 2 ** 31)));
  });

  it('a server that is killed in the middle of fio, and comes back, has no error and no wrong byte', async () => {
    await guest.sh(`truncate -s ${SIZE} /run/image`);
    const command = `nbdkit -U ${SOCKET} file /run/image`;
    await start(command);
    await serve(`nbd+unix:///?socket=${SOCKET}`);
    const over = '/run/no-more-kills';
    const seed = Math.floor(Math.random() * 2 ** 31);
    const fio = guest.sh(fioVerifyUntil(over, DEVICE, { depth: 32, direct: true }, seed));
    fio.catch(() => undefined);
    for (let kills = 0; kills < 3; kills++) {
      await guest.sh('sleep 1.5; pkill -KILL nbdkit; sleep 0.5');
      await start(command);
    }
    await guest.sh(`touch ${over}`);
    await fio;
    const { stdout } = await guest.try(`cd ${gateway!.folder}; ${Guest.blockgate} status disk0`);
    expect(stdout).toMatch(/backend +state connected, connections 1, reconnections [1-9]/);
  });
});

describe('a disk that is served to', () => {
  it('the nbd-client of the kernel verifies, and carries a file system', async () => {
    const socket = '/run/served.sock';
    gateway = await guest.startGateway(
      {
        disks: {
          disk0: {
            backend: { type: 'file', path: '/run/image', size: `${SIZE}iB` },
            frontend: { type: 'nbd', socket },
          },
        },
      },
      { paths: [socket] },
    );
    await guest.sh(`modprobe nbd; nbd-client -unix ${socket} -name disk0 -persist -timeout 120 /dev/nbd0`);
    try {
      expect((await guest.sh('blockdev --getsize64 /dev/nbd0')).trim()).toBe(`${512 * 2 ** 20}`);
      const seed = Math.floor(Math.random() * 2 ** 31);
      await guest.sh(fioVerify('/dev/nbd0', { depth: 32, direct: true }, seed));
      await guest.sh(fileSystem('/dev/nbd0', 'ext4', TREE));
      // Whoever is connected keeps it from stopping.
      const { stdout } = await guest.try(`cd ${gateway.folder}; ${Guest.blockgate} status disk0`);
      expect(stdout).toContain('connection 1');
    } finally {
      await guest.sh('nbd-client -d /dev/nbd0; sleep 1');
    }
  });
});
