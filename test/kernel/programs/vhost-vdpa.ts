/**
 * Runs in the guest: uses a disk as a hypervisor does, by /dev/vhost-vdpa-N, and as this machine does. The disks are
 * served by a process of their own, since most calls wait for it.
 *
 *   node vhost-vdpa.ts COUNT
 *
 * COUNT: how often to reset. Prints one line of JSON, a `VhostReport`.
 */
import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { VhostGuest } from '../../support/vhost-vdpa/guest.ts';
import { DISK_BYTES, type DiskOrder, type DiskReply, STORE_DELAY_MS } from './vhost-disk.ts';

export interface VhostReport {
  readonly attached: {
    readonly path: string;
    readonly target: string;
    readonly usage: readonly string[];
    readonly driver: string;
    /** Lines of the kernel's log about a disk that virtio_blk made meanwhile. */
    readonly disks: number;
    readonly autoprobe: string;
    readonly otherDriver: string;
  };
  readonly roundTrip: { readonly sectors: number; readonly mismatches: number; readonly flush: number };
  readonly base: { readonly submitted: number; readonly first: number; readonly reported: number };
  readonly restored: { readonly mismatches: number };
  readonly remap: { readonly rounds: number; readonly mismatches: number };
  readonly storm: Storm & { readonly inFlight: number; readonly lateWrites: number };
  readonly held: {
    readonly holders: readonly string[];
    readonly own: string;
    readonly detach: string | undefined;
    readonly stillThere: boolean;
    readonly afterwards: number;
    readonly again: string | undefined;
  };
  /** The virtual machine ended while nobody served its disk, for longer than the kernel waits. */
  readonly orphaned: { readonly detach: string | undefined; readonly mismatches: number };
  readonly hostStorm: Storm & { readonly mismatches: number };
  readonly left: readonly string[];
}

interface Storm {
  readonly resets: number;
  readonly before: DiskReply['inventory'];
  readonly after: DiskReply['inventory'];
}

const SECTOR = 512;
const LARGE = 128 * 1024;
const count = Number(process.argv[2] ?? 20);

/** The process that serves the disks. */
class DiskProcess {
  readonly #child: ChildProcess = fork(join(import.meta.dirname, 'vhost-disk.ts'), {
    stdio: ['ignore', 2, 2, 'ipc'],
  });
  readonly #waiting = new Map<number, (reply: DiskReply) => void>();
  #last = 0;

  constructor() {
    this.#child.on('message', (reply: DiskReply) => this.#waiting.get(reply.id)?.(reply));
    this.#child.once('exit', (code, signal) => {
      if (this.#child.connected || code !== 0) throw new Error(`the disk's process ended: ${signal ?? code}`);
    });
  }

  async tell(order: DiskOrder['order'], disk: string, how: Partial<DiskOrder> = {}): Promise<DiskReply> {
    const id = ++this.#last;
    const reply = new Promise<DiskReply>((done) => this.#waiting.set(id, done));
    this.#child.send({ ...how, id, order, disk } satisfies DiskOrder);
    return await reply;
  }

  async must(...order: Parameters<DiskProcess['tell']>): Promise<DiskReply> {
    const reply = await this.tell(...order);
    if (reply.code !== undefined) throw new Error(`${order[0]}: ${reply.code}: ${reply.text}`);
    return reply;
  }

  async end(): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.disconnect();
    await ended;
  }
}

/** Content of a sector that says where it belongs and when it was written. */
function sectorsOf(first: number, length: number, tag: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const words = new Uint32Array(bytes.buffer);
  for (let i = 0; i < words.length; i++) words[i] = (first + Math.floor((i * 4) / SECTOR)) * 64 + tag;
  return bytes;
}

const differ = (a: Uint8Array, b: Uint8Array): number => (Buffer.compare(a, b) === 0 ? 0 : 1);

const bound = (device: string): string =>
  readlinkSync(`/sys/bus/vdpa/devices/${device}/driver`).split('/').at(-1)!;

/** Lines of the kernel's log in which virtio_blk tells the size of a new disk. */
const disksLogged = (): number =>
  execFileSync('dmesg', { encoding: 'utf8' })
    .split('\n')
    .filter((line) => /virtio_blk virtio\d+: \[vd/.test(line)).length;

/** Writes and reads large and small, several at once, past the middle of the memory, where regions meet. */
async function exchange(guest: VhostGuest, tag: number): Promise<{ mismatches: number; requests: number }> {
  const large = Array.from({ length: 20 }, (_, i) => i * (LARGE / SECTOR));
  const small = Array.from({ length: 16 }, (_, i) => DISK_BYTES / SECTOR / 2 + 3 * i);
  const plan = [
    ...large.map((sector) => ({ sector, length: LARGE })),
    ...small.map((sector) => ({ sector, length: SECTOR })),
  ];
  let mismatches = 0;
  const written = await Promise.all(
    plan.map(({ sector, length }) => guest.write(sector, sectorsOf(sector, length, tag))),
  );
  mismatches += written.filter(({ status }) => status !== 0).length;
  const read = await Promise.all(plan.map(({ sector, length }) => guest.read(sector, length)));
  for (const [i, { status, data }] of read.entries()) {
    const { sector, length } = plan[i]!;
    mismatches += status === 0 ? differ(data, sectorsOf(sector, length, tag)) : 1;
  }
  return { mismatches, requests: 2 * plan.length };
}

async function basics(path: string): Promise<Pick<VhostReport, 'roundTrip' | 'base' | 'restored'>> {
  // The index wraps on the way.
  const first = 0xfff0;
  let reported: number;
  let submitted: number;
  let roundTrip: VhostReport['roundTrip'];
  {
    using guest = new VhostGuest(path, first);
    const sectors = Number(new DataView(guest.device.config(0, 8).slice().buffer).getBigUint64(0, true));
    const { mismatches, requests } = await exchange(guest, 1);
    const { status } = await guest.flush();
    submitted = requests + 1;
    roundTrip = { sectors, mismatches, flush: status };
    reported = guest.device.queueBase(0);
  }
  using successor = new VhostGuest(path, reported);
  const { mismatches } = await exchange(successor, 2);
  return { roundTrip, base: { submitted, first, reported }, restored: { mismatches } };
}

async function remap(path: string): Promise<VhostReport['remap']> {
  using guest = new VhostGuest(path);
  const rounds = 8;
  let mismatches = 0;
  for (let round = 0; round < rounds; round++) {
    const exchanged = exchange(guest, 3 + round);
    // Once before anything was answered, then in between.
    for (let i = 0; i < 2; i++) {
      guest.remapMemory();
      await delay(1);
    }
    mismatches += (await exchanged).mismatches;
  }
  return { rounds, mismatches };
}

/** Resets with requests in flight, by the device status and as the end of the hypervisor does, in turn. */
async function storm(disk: DiskProcess, path: string): Promise<VhostReport['storm']> {
  let inFlight = 0;
  let lateWrites = 0;
  const once = async (i: number): Promise<void> => {
    using guest = new VhostGuest(path, i & 0xffff);
    const sent = Array.from({ length: 8 }, (_, k) => [
      guest.write(k * 256, sectorsOf(k * 256, LARGE, i & 63)),
      guest.read(k * 256, LARGE),
    ]).flat();
    if (i % 4 === 1) await sent[0];
    if (i % 4 === 2) await delay(1);
    if (guest.unanswered > 0) inFlight++;
    if (i % 2 === 0) return;
    guest.reset();
    // The answer to the reset is there: from here on this memory is the guest's alone.
    const { bytes } = guest.memory;
    const mark = (i * 7 + 1) & 0xff;
    bytes.fill(mark);
    await delay(3 * STORE_DELAY_MS);
    if (bytes.some((byte) => byte !== mark)) lateWrites++;
  };
  for (let i = 0; i < 4; i++) await once(i);
  const { inventory: before } = await disk.must('inventory', 'disk0');
  for (let i = 0; i < count; i++) await once(i);
  const { inventory: after } = await disk.must('inventory', 'disk0');
  return { resets: count, before, after, inFlight, lateWrites };
}

async function held(disk: DiskProcess, path: string): Promise<VhostReport['held']> {
  let guest: VhostGuest | undefined = new VhostGuest(path);
  try {
    await guest.write(0, sectorsOf(0, SECTOR, 5));
    const { holders = [] } = await disk.must('holders', 'disk0');
    const { code: detach } = await disk.tell('detach', 'disk0');
    const stillThere = existsSync('/sys/bus/vdpa/devices/blockgate-disk0');
    await disk.must('attach', 'disk0');
    const { status, data } = await guest.read(0, SECTOR);
    const afterwards = status + differ(data, sectorsOf(0, SECTOR, 5));
    guest[Symbol.dispose]();
    guest = undefined;
    const { code: again } = await disk.tell('detach', 'disk0');
    const own = `process: pid ${process.pid} (${readFileSync('/proc/self/comm', 'utf8').trim()})`;
    return { holders, own, detach, stillThere, afterwards, again };
  } finally {
    guest?.[Symbol.dispose]();
  }
}

async function orphaned(disk: DiskProcess): Promise<VhostReport['orphaned']> {
  const shortest = { msgTimeout: 10 };
  const { path = '' } = await disk.must('attach', 'disk0', shortest);
  let detach: string | undefined;
  {
    using _guest = new VhostGuest(path);
    detach = (await disk.tell('detach', 'disk0')).code;
  }
  await disk.must('attach', 'disk0', shortest);
  let mismatches: number;
  {
    using guest = new VhostGuest(path);
    mismatches = (await exchange(guest, 20)).mismatches;
  }
  await disk.must('detach', 'disk0');
  return { detach, mismatches };
}

/** The driver of this machine lets go and comes back, while somebody reads. */
async function hostStorm(disk: DiskProcess): Promise<VhostReport['hostStorm']> {
  const driver = '/sys/bus/vdpa/drivers/virtio_vdpa';
  const once = async (): Promise<void> => {
    const reader = spawn('dd', ['if=/dev/blockgate/disk1', 'of=/dev/null', 'bs=256k', 'iflag=direct'], {
      stdio: 'ignore',
    });
    const over = new Promise((done) => reader.once('exit', done));
    await delay(10);
    writeFileSync(join(driver, 'unbind'), 'blockgate-disk1');
    await over;
    writeFileSync(join(driver, 'bind'), 'blockgate-disk1');
  };
  writeFileSync('/dev/blockgate/disk1', sectorsOf(0, LARGE, 9));
  for (let i = 0; i < 2; i++) await once();
  const { inventory: before } = await disk.must('inventory', 'disk1');
  for (let i = 0; i < count; i++) await once();
  const { inventory: after } = await disk.must('inventory', 'disk1');
  const data = execFileSync(
    'dd',
    ['if=/dev/blockgate/disk1', `bs=${LARGE}`, 'count=1', 'iflag=direct', 'status=none'],
    {
      maxBuffer: 2 * LARGE,
    },
  );
  return { resets: count, before, after, mismatches: differ(data, sectorsOf(0, LARGE, 9)) };
}

const disk = new DiskProcess();
await disk.must('attach', 'disk1', { attach: 'host' });
const logged = disksLogged();
const { path = '', usage = [] } = await disk.must('attach', 'disk0');
const attached: VhostReport['attached'] = {
  path,
  target: readlinkSync(path),
  usage,
  driver: bound('blockgate-disk0'),
  disks: disksLogged() - logged,
  autoprobe: readFileSync('/sys/bus/vdpa/drivers_autoprobe', 'utf8').trim(),
  otherDriver: bound('blockgate-disk1'),
};
const report: Omit<VhostReport, 'left'> = {
  attached,
  ...(await basics(path)),
  remap: await remap(path),
  storm: await storm(disk, path),
  held: await held(disk, path),
  orphaned: await orphaned(disk),
  hostStorm: await hostStorm(disk),
};
await disk.must('detach', 'disk1');
await disk.end();
const left = [
  ...readdirSync('/dev/vduse').filter((name) => name !== 'control'),
  ...readdirSync('/sys/bus/vdpa/devices'),
  ...(existsSync('/dev/blockgate') ? readdirSync('/dev/blockgate') : []),
];
process.stdout.write(`${JSON.stringify({ ...report, left } satisfies VhostReport)}\n`);
