import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Guest } from '../support/guest.ts';
import type { VhostReport } from './programs/vhost-vdpa.ts';

/** Disks for hypervisors on the real kernel, used by a vhost-vdpa driver of our own; and resets, many of them. */

const PROGRAM = join(import.meta.dirname, 'programs', 'vhost-vdpa.ts');
/** Resets of each kind. Hundreds find more than a test run has time for. */
const RESETS = Number(process.env['BLOCKGATE_TEST_STORM'] ?? 20);

let guest: Guest;
let report: VhostReport;

beforeAll(
  async () => {
    guest = await Guest.start();
    // The driver of this machine is there first, and would take every device.
    const script = `modprobe -a vduse virtio_vdpa; node ${PROGRAM} ${RESETS}`;
    report = JSON.parse(await guest.sh(script, { timeoutMs: 120_000 + RESETS * 2000 })) as VhostReport;
  },
  180_000 + RESETS * 2000,
);

afterAll(async () => {
  await guest?.[Symbol.asyncDispose]();
});

describe('a disk for a hypervisor', () => {
  it('is /dev/vhost-vdpa-N at a stable path, and says how to use it', () => {
    expect(report.attached).toMatchObject({ path: '/dev/blockgate/disk0', target: '/dev/vhost-vdpa-0' });
    expect(report.attached.usage.join('\n')).toContain('vhostdev=/dev/blockgate/disk0');
  });

  it('gets its driver though the other was there first: no disk shows, and nothing else changes hands', () => {
    expect(report.attached).toMatchObject({
      driver: 'vhost_vdpa',
      disks: 0,
      autoprobe: '1',
      otherDriver: 'virtio_vdpa',
    });
  });

  it('gives back what was written, across regions of memory and a wrap of the indices', () => {
    expect(report.roundTrip).toEqual({ sectors: 32768, mismatches: 0, flush: 0 });
  });

  it('tells how many requests it took, and goes on there for the next driver', () => {
    const { first, submitted, reported } = report.base;
    expect(reported).toBe((first + submitted) & 0xffff);
    expect(report.restored.mismatches).toBe(0);
  });

  it('keeps data right when its memory is mapped anew with requests in flight', () => {
    expect(report.remap.rounds).toBeGreaterThan(0);
    expect(report.remap.mismatches).toBe(0);
  });

  it(`survives ${RESETS} resets with requests in flight, leaks nothing, and lets go of the memory`, () => {
    expect(report.storm.inFlight).toBeGreaterThan(0);
    expect(report.storm.lateWrites).toBe(0);
    expect(report.storm.after).toEqual(report.storm.before);
  });

  it('knows who has it open, and is not taken away from a virtual machine', () => {
    const { holders, own, detach, stillThere } = report.held;
    expect(holders).toEqual([own]);
    expect({ detach, stillThere }).toEqual({ detach: 'vduse.open-in-vm', stillThere: true });
  });

  it('is served again where it was left, and detached once nobody has it open', () => {
    expect(report.held.afterwards).toBe(0);
    expect(report.held.again).toBeUndefined();
  });
});

describe('a disk whose virtual machine ended while nobody served it', () => {
  it('is made anew by the next start, though the kernel has given the device up', () => {
    expect(report.orphaned).toEqual({ detach: 'vduse.open-in-vm', mismatches: 0 });
  });
});

describe('a disk of this machine', () => {
  it(`survives ${RESETS} changes of its driver with readers at work, and leaks nothing`, () => {
    expect(report.hostStorm.after).toEqual(report.hostStorm.before);
    expect(report.hostStorm.mismatches).toBe(0);
  });

  it('leaves nothing behind, nor does the other', () => {
    expect(report.left).toEqual([]);
  });
});
