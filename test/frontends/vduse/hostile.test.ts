import { describe, expect, it } from 'vitest';
import type { RingLayout } from '../../../frontends/virtio/virtq/ring-state.ts';
import type { Descriptor } from '../../support/driver-ring.ts';
import type { FakeVirtioDriver } from '../../support/fake-virtio-driver.ts';
import { LAYOUTS } from '../../support/make-ring.ts';
import { Rig, turns } from './rig.ts';

const UNMAPPED = 0x7fff_0000_0000;
const NEXT = 1;
const INDIRECT = 4;

/** A read of one sector, in three descriptors. */
function readChain({ ring }: FakeVirtioDriver): [Descriptor, Descriptor, Descriptor] {
  const header = ring.allocate(16);
  ring.at(header, 16).fill(0);
  return [
    { addr: header, len: 16 },
    { addr: ring.allocate(512), len: 512, writable: true },
    { addr: ring.allocate(1), len: 1, writable: true },
  ];
}

/** Chains that are no requests. Each puts one into the ring. */
const CHAINS: Record<string, (driver: FakeVirtioDriver) => void> = {
  'a length beyond its region': (driver) => {
    const [header, data, status] = readChain(driver);
    driver.ring.add([header, { ...data, len: 0xffff_fe00 }, status]);
  },
  'data that is not mapped': (driver) => {
    const [header, data, status] = readChain(driver);
    driver.ring.add([header, { ...data, addr: UNMAPPED }, status]);
  },
  'a header that is not mapped': (driver) => {
    const [header, data, status] = readChain(driver);
    driver.ring.add([{ ...header, addr: UNMAPPED }, data, status]);
  },
  'an address beyond 2^53': (driver) => {
    const [header, data, status] = readChain(driver);
    driver.ring.add([header, { ...data, addr: 2n ** 64n - 256n }, status]);
  },
  'a readable descriptor after a writable one': (driver) => {
    const [header, data, status] = readChain(driver);
    driver.ring.add([data, header, status]);
  },
  'no descriptor to write the status to': (driver) => {
    const [header] = readChain(driver);
    driver.ring.add([header]);
  },
  'an indirect table inside an indirect table': (driver) => {
    const [header, data, status] = readChain(driver);
    const inner = driver.ring.writeTable([header, data, status]);
    driver.ring.addIndirect([{ ...inner, flags: INDIRECT }]);
  },
  'an indirect table whose length is not a multiple of 16': (driver) => {
    const table = driver.ring.writeTable(readChain(driver));
    driver.ring.add([{ ...table, len: 40 }]);
  },
};

const CHAINS_BY_LAYOUT: Record<RingLayout, typeof CHAINS> = {
  split: {
    'a chain that loops': (driver) => {
      const [header, data] = readChain(driver);
      const head = driver.split.add([header, data]);
      driver.split.view.setUint16(16 * head + 12, 1, true);
      driver.split.view.setUint16(16 * head + 14, head, true);
    },
    'a descriptor out of range': (driver) => {
      const [header] = readChain(driver);
      driver.split.add([{ ...header, next: 9999 }]);
    },
  },
  packed: {
    'an indirect table that is continued': (driver) => {
      const [header, data, status] = readChain(driver);
      driver.ring.add([driver.ring.writeTable([header, data]), status]);
    },
  },
};

/** What a guest can do to the ring itself. */
const RINGS: Record<RingLayout, Record<string, (driver: FakeVirtioDriver) => void>> = {
  split: {
    'an available index that jumps': ({ split }) => split.setAvailIndex(split.usedIndex + 1000),
    'a head out of range': ({ split }) => split.offerRaw(0xffff),
    'a head that is in flight already': (driver) => driver.split.offerRaw(driver.ring.add(readChain(driver))),
  },
  packed: {
    'a list without an end': ({ packed }) =>
      packed.addRaw(0, Array(40).fill({ addr: 0, len: 16, flags: NEXT })),
    'a buffer id out of range': ({ packed }) => packed.addRaw(0xffff, [{ addr: 0, len: 16 }]),
    'a buffer id that is in flight already': (driver) =>
      driver.packed.addRaw(driver.ring.add(readChain(driver)), [{ addr: 0, len: 16 }]),
  },
};

describe.each(LAYOUTS)('a hostile driver, %s ring', (ring) => {
  it.each(Object.entries({ ...CHAINS, ...CHAINS_BY_LAYOUT[ring] }))(
    'gets its head back for %s, and others are served',
    async (_name, offer) => {
      await using rig = new Rig({ config: { ring } });
      await rig.attach();
      const { driver } = rig;
      driver.mapData();
      offer(driver);
      rig.kernel.kick(rig.device.queues[0]!.kickFd);
      await turns(() => driver.ring.published === 2);
      driver.ring.takeAllUsed();
      expect(await driver.read(1, 512)).toMatchObject({
        status: 0,
        data: rig.store.data.subarray(512, 1024),
      });
    },
  );

  it.each(Object.entries(RINGS[ring]))('stops the queue with a reason by %s', async (_name, corrupt) => {
    await using rig = new Rig({ config: { ring } });
    await rig.attach();
    const gate = Promise.withResolvers<void>();
    rig.store.gate = () => gate.promise;
    rig.driver.mapData();
    corrupt(rig.driver);
    rig.kernel.kick(rig.device.queues[0]!.kickFd);
    await turns(() => rig.messages('error').includes('virtqueue stopped'));
    // Draining settles all the same, and a reset brings the disk back.
    gate.resolve();
    rig.store.gate = undefined;
    await rig.kernel.restartDriver('blockgate-disk0');
    expect(await rig.driver.read(0, 512)).toMatchObject({ status: 0 });
  });

  it('cannot have rings outside of its memory', async () => {
    await using rig = new Rig({ config: { ring } });
    rig.kernel.tamperWithQueue = (queue) => {
      queue.device = UNMAPPED;
    };
    await expect(rig.attach()).rejects.toMatchObject({
      code: 'vduse.driver-refused',
      why: expect.stringContaining(ring === 'split' ? 'used ring' : 'event suppression'),
    });
  });

  it('cannot have rings of a size that there is not', async () => {
    await using rig = new Rig({ config: { ring } });
    rig.kernel.tamperWithQueue = (queue) => {
      queue.num = 0x8000_0000;
    };
    await expect(rig.attach()).rejects.toMatchObject({ code: 'vduse.driver-refused' });
  });
});
