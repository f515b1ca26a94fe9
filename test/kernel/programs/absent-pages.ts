import { resolve } from '../../../core/block/resolve.ts';
import { DiskVolume } from '../../../core/block/volume.ts';
import { linux } from '../../../core/system/libc.ts';
import type { SharedMapping } from '../../../core/system/syscalls.ts';
import { vduseConfig } from '../../../frontends/vduse/config.ts';
import { attachDisk } from '../../../frontends/vduse/frontend.ts';
import { linuxHost } from '../../../frontends/vduse/frontend-host.ts';
import { GuestMemory } from '../../../frontends/virtio/memory/guest-memory.ts';
import { Access, Mapping } from '../../../frontends/virtio/memory/mapping.ts';
import { QueueRig } from '../../frontends/virtio/blk/queue-rig.ts';
import type { Descriptor } from '../../support/driver-ring.ts';
import { FakeDevice, MemoryLogger } from '../../support/fake-device.ts';
import { RingBuilder } from '../../support/ring-builder.ts';

/**
 * Attaches a disk, and then plays a driver that names pages of the kernel's bounce memory which the real driver never
 * mapped. Its rings are in memory of its own; the bounce memory is the real one.
 */

export interface AbsentPagesReport {
  /** Pages of the bounce memory that can be touched, and all of them. */
  readonly present: number;
  readonly pages: number;
  /** By what was put on an absent page: bytes said to be written, and the status, where there is a place for one. */
  readonly answers: Readonly<Record<string, { readonly written: number; readonly status: number }>>;
  /** What a request on pages that the real driver uses was answered with. */
  readonly onPresentPages: { readonly written: number; readonly status: number };
}

const BOUNCE = 64 * 2 ** 20;
const PAGE = 4096;
const RING_BASE = 2 ** 32;
const stateDir = process.argv[2]!;

const maps: { map: SharedMapping; length: number }[] = [];
const logger = new MemoryLogger();
const volume = new DiskVolume(
  'disk0',
  resolve(new FakeDevice({ size: 2 ** 20, caps: { concurrency: 'parallel' } }), 'fake'),
  logger,
);
await using _handle = await attachDisk(
  volume,
  vduseConfig.parse({}),
  { disk: 'disk0', logger, signal: new AbortController().signal, stateDir, baseDir: stateDir },
  {
    ...linuxHost,
    syscalls: {
      ...linux,
      mmap: (fd, offset, length, prot) => {
        const map = linux.mmap(fd, offset, length, prot);
        maps.push({ map, length });
        return map;
      },
    },
  },
);

const bounce = maps.find(({ length }) => length === BOUNCE)?.map;
if (bounce === undefined) throw new Error('the bounce memory was not mapped');
const present = Array.from({ length: BOUNCE / PAGE }, (_, page) => page).filter((page) =>
  bounce.probe(page * PAGE, PAGE),
);
const there = new Set(present);
const absent = Array.from({ length: BOUNCE / PAGE }, (_, page) => page * PAGE).filter(
  (at) => !there.has(at / PAGE),
);

const ring = new RingBuilder({ num: 16, base: RING_BASE, memory: 2 ** 18 });
const own = new Mapping({
  iova: RING_BASE,
  length: ring.buffer.byteLength,
  access: Access.READ_WRITE,
  buffer: ring.buffer,
});
const shared = new Mapping({
  iova: 0,
  length: BOUNCE,
  access: Access.READ_WRITE,
  buffer: bounce.buffer,
  probe: (offset, length) => bounce.probe(offset, length),
});
const memory = new GuestMemory((iova) => (iova >= RING_BASE ? own : shared));
const rig = new QueueRig({ num: 16, base: RING_BASE, buffer: ring.buffer, queue: { memory } });
const header: Descriptor = { addr: rig.ring.allocate(16), len: 16 };
rig.ring.at(Number(header.addr), 16).fill(0);
const payload: Descriptor = { addr: rig.ring.allocate(512), len: 512, writable: true };
const status = { addr: rig.ring.allocate(1), len: 1, writable: true };
const table = rig.ring.writeTable([header, payload, status]);

function answerTo(chain: readonly Descriptor[]): { written: number; status: number } {
  const at = rig.ring.at(status.addr, 1);
  at[0] = 0xee;
  rig.ring.add(chain);
  rig.run();
  const used = rig.ring.takeUsed();
  if (used === undefined) throw new Error(`no answer; ${rig.broken.join(', ')}`);
  return { written: used.written, status: at[0]! };
}

const answers: Record<string, { written: number; status: number }> = {};
for (const addr of absent) {
  answers['a header'] = answerTo([{ ...header, addr }, payload, status]);
  answers['a payload'] = answerTo([header, { ...payload, addr }, status]);
  answers['a status'] = answerTo([header, payload, { ...status, addr }]);
  answers['an indirect table'] = answerTo([{ ...table, addr }]);
}
const page = present[0]! * PAGE;
const report: AbsentPagesReport = {
  present: present.length,
  pages: BOUNCE / PAGE,
  answers,
  // The real driver has nothing in flight: the page is nobody's at the moment.
  onPresentPages: answerTo([header, { ...payload, addr: page }, status]),
};
process.stdout.write(`${JSON.stringify(report)}\n`);
