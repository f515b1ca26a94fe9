import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { fioVerifyUntil } from '../support/disk-exercises.ts';
import { FIND_SERVER } from '../support/find-server.ts';
import { Guest, type GuestGateway } from '../support/guest.ts';
import { blockgate } from '../support/host-cli.ts';
import { S3_SERVICES, type S3Service, startS3Service } from '../support/kernel-backends.ts';

/** The log volume where it counts: its process killed and stopped, and taken over. `BLOCKGATE_TEST_KILLS=200` for a long run. */

const KILLS = Math.ceil(Number(process.env['BLOCKGATE_TEST_KILLS'] ?? 2) / 2);
const MIB = 2 ** 20;
const JOURNAL_MIB = 64;
const [DISK0, DISK1] = ['/dev/blockgate/disk0', '/dev/blockgate/disk1'];

let guest: Guest;
let service: S3Service;
let running: GuestGateway[] = [];
let volumes = 0;

beforeAll(async () => {
  [guest, service] = await Promise.all([
    // A disk for a journal.
    Guest.start({ disks: [{ sizeMiB: JOURNAL_MIB }] }),
    startS3Service(S3_SERVICES[0]!),
  ]);
});

afterAll(async () => {
  await guest?.[Symbol.asyncDispose]();
  await service?.[Symbol.asyncDispose]();
});

// A test that failed half-way must not fail those after it.
afterEach(async () => {
  for (const gateway of running.splice(0)) await gateway.stop();
});

const onHost = (backend: object): object => ({ ...backend, endpoint: service.hostBackend['endpoint'] });

async function createVolume(): Promise<object> {
  const backend = { ...service.backend, prefix: `log${++volumes}`, size: 64 * MIB };
  const disk0 = { backend: onHost(backend) };
  const { exitCode, output } = await blockgate({ disk0 }, ['volume', 'create', 'disk0'], service.env);
  if (exitCode !== 0) throw new Error(output);
  return backend;
}

async function serve(disks: object, options: object = {}): Promise<GuestGateway> {
  const gateway = await guest.startGateway({ disks }, { env: service.env, ...options });
  running.push(gateway);
  return gateway;
}

describe('a disk in a log', () => {
  it('goes on through the death of its process, and without the store, when it has a journal', {
    timeout: 900_000 + KILLS * 60_000,
  }, async () => {
    const backend = {
      ...(await createVolume()),
      flush: 'local',
      journal: { path: '/run/journal', size: '128MiB' },
    };
    await serve({ disk0: { backend } });
    const over = '/run/no-more-kills';
    const seed = Math.floor(Math.random() * 2 ** 31);
    const fio = guest.sh(fioVerifyUntil(over, DISK0, { depth: 32, direct: true }, seed), {
      timeoutMs: 600_000 + KILLS * 60_000,
    });
    fio.catch(() => undefined);
    for (let kills = 0; kills < KILLS; kills++)
      await guest.sh(`${FIND_SERVER}
        sleep $((2 + RANDOM % 3)); server; before=$REPLY; kill -KILL "$before"
        while server; [ -z "$REPLY" ] || [ "$REPLY" = "$before" ]; do sleep 0.3; done`);
    await service.down();
    // Answered by the journal alone.
    await guest.sh(
      `dd if=/dev/urandom of=${DISK0} bs=64k seek=900 count=8 oflag=direct conv=fsync status=none`,
    );
    await service.up();
    await guest.sh(`touch ${over}`);
    await fio;
    const { stdout } = await guest.try(`cd ${running[0]!.folder}; ${Guest.blockgate} status disk0`);
    expect(stdout).toMatch(new RegExp(`, ${KILLS} restarts`));
    expect(stdout).toMatch(/journal \/run\/journal, .* not stored/);
  });

  it('goes on with the store alone when the disk of its journal fails, and needs that disk no more', async () => {
    const remote = await createVolume();
    const journal = { path: '/dev/mapper/journal', size: `${JOURNAL_MIB}MiB` };
    await guest.sh(`
      modprobe dm-mod
      dmsetup create journal --table "0 $((${JOURNAL_MIB} * 2048)) linear /dev/vda 0"; udevadm settle`);
    await serve({ disk0: { backend: { ...remote, flush: 'local', journal } } });
    const over = '/run/journal-failed';
    const seed = Math.floor(Math.random() * 2 ** 31);
    const fio = guest.sh(fioVerifyUntil(over, DISK0, { depth: 32, direct: true }, seed), {
      timeoutMs: 600_000,
    });
    fio.catch(() => undefined);
    // Whatever is under way, and everything after it, is an error from here on.
    await guest.sh('sleep 4; dmsetup wipe_table journal');
    await guest.sh(`sleep 2; touch ${over}`);
    await fio;
    await guest.sh(`
      dd if=/dev/urandom of=/tmp/flushed bs=64k count=8 status=none
      dd if=/tmp/flushed of=${DISK0} bs=64k seek=900 oflag=direct conv=fsync status=none
      head -c ${64 * MIB} ${DISK0} | sha256sum > /tmp/content`);
    const { stdout } = await guest.try(`cd ${running[0]!.folder}; ${Guest.blockgate} status disk0`);
    expect(stdout).toMatch(/journal .*failed: .*; writes wait for the store/);
    expect(await running[0]!.log()).toContain('the journal cannot be written any more');
    await running.pop()!.stop();
    await guest.sh('dmsetup remove journal');
    // With no journal, and elsewhere as well.
    await serve({ disk0: { backend: remote } });
    await guest.sh(`head -c ${64 * MIB} ${DISK0} | sha256sum | cmp - /tmp/content`);
  });

  it('is not started with a journal for which there is no room', async () => {
    const remote = await createVolume();
    await guest.sh('mkdir -p /mnt/small; mount -t tmpfs -o size=16m tmpfs /mnt/small');
    const journal = { path: '/mnt/small/journal', size: '64MiB' };
    await expect(serve({ disk0: { backend: { ...remote, flush: 'local', journal } } })).rejects.toThrow(
      /ENOSPC.*volume\.journal-unusable/s,
    );
    await guest.sh('umount /mnt/small');
  });

  it('is refused to a second gateway, and taken over from one that stands still, which then fails closed', async () => {
    const backend = await createVolume();
    await serve({ disk0: { backend } });
    await guest.sh(`
      dd if=/dev/urandom of=/tmp/flushed bs=1M count=8 status=none
      dd if=/tmp/flushed of=${DISK0} bs=1M oflag=direct conv=fsync status=none`);
    // On the host, which is another machine than the guest.
    const { exitCode, output } = await blockgate(
      { disk0: { backend: onHost(backend) } },
      ['run'],
      service.env,
    );
    expect(exitCode).not.toBe(0);
    for (const word of ['volume.owned', 'blockgate-vm', '--take-over']) expect(output).toContain(word);
    await guest.sh('kill -STOP $(pgrep -f disk-process)');
    // Not flushed by a gateway that does nothing any more: it must not come to pass later.
    const late = guest.try(`dd if=/dev/zero of=${DISK0} bs=1M count=8 oflag=direct,sync status=none`);
    const successor = await serve(
      { disk1: { backend } },
      { arguments: '--take-over disk1', paths: [DISK1], folder: '/srv/successor' },
    );
    await guest.sh(`
      cmp -n ${8 * MIB} /tmp/flushed ${DISK1}
      dd if=/tmp/flushed of=${DISK1} bs=1M seek=8 oflag=direct conv=fsync status=none
      pkill -CONT -f disk-process`);
    expect((await late).exitCode).not.toBe(0);
    const read = await guest.try(`dd if=${DISK0} of=/dev/null bs=4k count=1 iflag=direct`);
    expect(read.stderr).toContain('Input/output error');
    await guest.sh(`
      cmp -n ${8 * MIB} /tmp/flushed ${DISK1}
      cmp -n ${8 * MIB} /tmp/flushed ${DISK1} 0 ${8 * MIB}`);
    // Not by its own `stop`, which wants no device to be left.
    await guest.sh(`
      read -r pid < ${successor.folder}/pid; kill -TERM $pid
      for attempt in {1..200}; do kill -0 $pid 2>/dev/null || break; sleep 0.3; done`);
    running = running.filter((gateway) => gateway !== successor);
  });
});
