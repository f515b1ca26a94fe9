import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GatewayError } from '../../../core/api/errors.ts';
import { LAYOUTS } from '../../support/make-ring.ts';
import { NAME, Rig, turns } from './rig.ts';

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return GatewayError.is(error) ? error.code : `no GatewayError: ${String(error)}`;
}

/** Holds every request of the store; returns how to let each go. */
function holdRequests(rig: Rig): (() => void)[] {
  const held: (() => void)[] = [];
  rig.store.gate = () => new Promise((resolve) => held.push(resolve));
  return held;
}

const logOf = (rig: Rig): string => join(rig.kernel.paths.run, 'blockgate', `${NAME}.inflight`);

function patch(path: string, at: number, byte: number): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, Uint8Array.of(byte), 0, 1, at);
  closeSync(fd);
}

describe('the log of what is in flight', () => {
  it('is for the gateway alone, and goes with the device', async () => {
    await using rig = new Rig();
    await rig.attach();
    expect(statSync(logOf(rig)).mode & 0o777).toBe(0o600);
    await rig.stop();
    expect(() => statSync(logOf(rig))).toThrow('ENOENT');
  });

  it('is empty after a reset: whoever comes next starts anew', async () => {
    await using rig = new Rig();
    await rig.attach();
    await rig.device.setStatus(0);
    expect(readFileSync(logOf(rig)).every((byte) => byte === 0)).toBe(true);
  });

  it('has to be in a folder that can be written to', async () => {
    await using rig = new Rig();
    writeFileSync(join(rig.kernel.paths.run, 'blockgate'), 'not a folder');
    expect(await codeOf(rig.attach())).toBe('vduse.inflight-file');
    expect(rig.kernel.devices.size).toBe(0);
  });
});

describe('a device that a dead process left attached', () => {
  it('is served again when every request was answered', async () => {
    await using rig = new Rig();
    await rig.attach();
    for (let i = 0; i < 5; i++) await rig.driver.write(i, new Uint8Array(512).fill(i));
    rig.kill();
    const handle = await rig.attach();
    expect(await rig.driver.read(3, 512)).toMatchObject({ status: 0, data: new Uint8Array(512).fill(3) });
    await handle[Symbol.asyncDispose]();
    expect(rig.kernel.devices.size).toBe(0);
  });

  it('interrupts a driver that never heard of the last completion', async () => {
    await using rig = new Rig();
    await rig.attach();
    // The last interrupt gets lost with the process that owed it.
    rig.device.onInterrupt = () => {};
    const before = rig.device.interrupts[0]!;
    rig.kill();
    await rig.attach();
    await turns(() => rig.device.interrupts[0]! > before);
  });

  it.each(LAYOUTS)(
    'gets what was in flight answered, oldest first, then what is new: %s rings',
    async (ring) => {
      await using rig = new Rig({ config: { ring } });
      await rig.attach();
      const held = holdRequests(rig);
      const reads = [7, 3, 5].map((sector) => rig.driver.read(sector, 512));
      await turns(() => rig.store.active === 3);
      // The second one is answered: where the others are in the ring cannot be told from its indices.
      held[1]!();
      await reads[1];
      rig.kill();
      const late = rig.driver.read(1, 512);
      rig.store.gate = undefined;
      rig.store.calls.length = 0;
      await rig.attach();
      expect(rig.store.calls.map(({ offset }) => offset / 512)).toEqual([7, 5, 1]);
      for (const read of [...reads, late]) expect(await read).toMatchObject({ status: 0 });
    },
  );

  it('gets it answered by the process after the next when the next dies too', async () => {
    await using rig = new Rig();
    await rig.attach();
    holdRequests(rig);
    const first = rig.driver.write(1, new Uint8Array(512).fill(1));
    await turns(() => rig.store.active === 1);
    rig.kill();
    await rig.attach();
    const second = rig.driver.write(2, new Uint8Array(512).fill(2));
    await turns(() => rig.store.calls.length === 4);
    rig.kill();
    rig.store.gate = undefined;
    await rig.attach();
    for (const write of [first, second]) expect(await write).toMatchObject({ status: 0 });
    expect(rig.store.calls.map(({ offset }) => offset / 512)).toEqual([0, 1, 1, 2, 1, 2]);
  });

  it('gets it answered after a stop that had to leave the device attached', async () => {
    await using rig = new Rig();
    const handle = await rig.attach();
    const held = holdRequests(rig);
    const read = rig.driver.read(1, 512);
    await turns(() => rig.store.active === 1);
    const { remove } = rig.kernel.bus;
    rig.kernel.bus.remove = async () => {
      throw new Error('EBUSY');
    };
    rig.forget();
    const stopped = handle[Symbol.asyncDispose]();
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    // Too late: the answer goes nowhere.
    held[0]!();
    await expect(stopped).rejects.toThrow('EBUSY');
    rig.kernel.bus.remove = remove;
    rig.store.gate = undefined;
    await rig.attach();
    expect(await read).toMatchObject({ status: 0 });
  });

  it('is served as it stands without its log when nothing was in flight', async () => {
    await using rig = new Rig();
    await rig.attach();
    await rig.driver.read(1, 512);
    rig.kill();
    rmSync(logOf(rig));
    await rig.attach();
    expect(await rig.driver.read(2, 512)).toMatchObject({ status: 0 });
  });

  it.each([
    ['its log is gone', 'vduse.requests-outstanding', (path: string) => rmSync(path)],
    ['its log is of another size', 'vduse.inflight-file', (path: string) => truncateSync(path, 100)],
    ['its log is of another version', 'virtio.bad-inflight-log', (path: string) => patch(path, 8, 2)],
    ['its log is of another queue', 'virtio.bad-inflight-log', (path: string) => patch(path, 10, 32)],
    ['its log lists what nobody asked for', 'virtio.bad-inflight-log', (path: string) => patch(path, 256, 1)],
  ])(
    'is refused with requests in flight when %s, and stays for whoever can tell which',
    async (_, code, damage) => {
      await using rig = new Rig();
      await rig.attach();
      holdRequests(rig);
      const reads = [rig.driver.read(0, 512), rig.driver.read(1, 512)];
      await turns(() => rig.store.active === 2);
      rig.kill();
      const log = readFileSync(logOf(rig));
      damage(logOf(rig));
      // However often it is tried.
      for (let i = 0; i < 2; i++) expect(await codeOf(rig.attach())).toBe(code);
      expect(rig.device.attached).toBe(true);
      expect(rig.device.opened).toBe(false);
      expect(rig.store.calls).toHaveLength(3);
      writeFileSync(logOf(rig), log);
      rig.store.gate = undefined;
      await rig.attach();
      for (const read of reads) expect(await read).toMatchObject({ status: 0 });
    },
  );

  it('resumes nothing when its driver was about to let go', async () => {
    await using rig = new Rig();
    await rig.attach();
    holdRequests(rig);
    void rig.driver.read(7, 512);
    await turns(() => rig.store.active === 1);
    rig.kill();
    rig.store.gate = undefined;
    rig.store.calls.length = 0;
    const reset = rig.device.setStatus(0);
    const attached = rig.attach();
    expect(await reset).toBe(true);
    await attached;
    expect(rig.store.calls.map(({ offset }) => offset / 512)).not.toContain(7);
  });

  it.each(LAYOUTS)('starts as usual when its driver was about to: %s rings', async (ring) => {
    await using rig = new Rig({ config: { ring } });
    await rig.attach();
    await rig.kernel.bus.remove(NAME);
    rig.kernel.intercept = (call) => (call === 'write' && rig.device.status === 0x0b ? 152 : undefined);
    const attached = rig.kernel.bus.add(NAME, 'virtio_vdpa');
    await turns(() => rig.device.status === 0x0b && !rig.device.readable);
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
    rig.kill();
    rig.kernel.intercept = () => undefined;
    await rig.attach();
    await attached;
    expect(await rig.driver.read(1, 512)).toMatchObject({ status: 0 });
  });

  it.each([
    ['its log', () => {}],
    ['no log', (path: string) => rmSync(path)],
  ])('goes on when its driver says once more that it has started, with %s', async (_, loseLog) => {
    await using rig = new Rig();
    await rig.attach();
    for (let i = 0; i < 3; i++) await rig.driver.write(i, new Uint8Array(512));
    rig.kill();
    loseLog(logOf(rig));
    rig.store.calls.length = 0;
    const again = rig.device.setStatus(0x0f);
    await rig.attach();
    expect(await again).toBe(true);
    expect(rig.store.calls).toEqual([]);
    expect(await rig.driver.read(1, 512)).toMatchObject({ status: 0 });
  });

  it('has given back what was in flight before it says where its queue stands', async () => {
    await using rig = new Rig();
    await rig.attach();
    holdRequests(rig);
    const read = rig.driver.read(7, 512);
    await turns(() => rig.store.active === 1);
    rig.kill();
    rig.store.gate = undefined;
    const state = rig.device.vqState(0);
    await rig.attach();
    expect(await state).toEqual({ ok: true, vqState: [2, 0, 0, 0] });
    expect(await read).toMatchObject({ status: 0 });
    rig.device.queues[0]!.ready = false;
  });

  it('is refused without its log when its virtqueues are packed: nobody knows how far they are', async () => {
    await using rig = new Rig({ config: { ring: 'packed' } });
    await rig.attach();
    rig.kill();
    const log = readFileSync(logOf(rig));
    rmSync(logOf(rig));
    expect(await codeOf(rig.attach())).toBe('vduse.requests-outstanding');
    expect(rig.device.attached).toBe(true);
    expect(rig.device.opened).toBe(false);
    writeFileSync(logOf(rig), log);
    await rig.attach();
    expect(await rig.driver.read(2, 512)).toMatchObject({ status: 0 });
  });

  it('answers the message that the dead process did not', async () => {
    await using rig = new Rig();
    await rig.attach();
    rig.kernel.intercept = (call) => (call === 'write' ? 152 : undefined);
    const reset = rig.kernel.bus.remove(NAME);
    await turns(() => !rig.device.readable);
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
    rig.kill();
    rig.kernel.intercept = () => undefined;
    // The earlier detachment goes through now; then the device is attached as if it were new.
    const attached = rig.attach();
    await reset;
    await attached;
    expect(await rig.driver.read(0, 512)).toMatchObject({ status: 0 });
  });

  it.each([
    ['another queue size', { queueSize: 32 }, 'queueSize: 16, now 32'],
    ['another serial number', { serial: 'other' }, 'serial: "disk0", now "other"'],
    ['more queues', { queues: 2 }, 'queues: 1, now 2'],
    ['another layout of its queues', { ring: 'packed' }, 'features: RING_PACKED'],
  ])('is refused with %s', async (_name, config, difference) => {
    await using rig = new Rig();
    await rig.attach();
    rig.kill();
    const error = await rig.attach(config).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'vduse.device-differs' });
    expect((error as GatewayError).why).toContain(difference);
  });

  it('is refused when this disk has no record of it', async () => {
    await using rig = new Rig();
    await rig.attach();
    rig.kill();
    rmSync(join(rig.folder, 'vduse.json'));
    expect(await codeOf(rig.attach())).toBe('vduse.device-exists');
  });
});

describe('a disk whose content was in the process that died', () => {
  it('is served again, empty, and the log says so', async () => {
    await using rig = new Rig({ info: { caps: { volatile: true } } });
    await rig.attach();
    rig.kill();
    await rig.attach();
    expect(rig.messages('warn')).toContain('what the disk held was lost with that process');
  });
});

describe('a device of that name', () => {
  it('that another process serves is refused', async () => {
    await using rig = new Rig();
    await rig.attach();
    expect(await codeOf(rig.attach())).toBe('vduse.device-busy');
    // The first one goes on.
    expect(await rig.driver.read(0, 512)).toMatchObject({ status: 0 });
  });

  it('that was never attached is made anew', async () => {
    await using rig = new Rig();
    await rig.attach();
    rig.kill();
    rig.kernel[Symbol.dispose]();
    rig.device.attached = false;
    rmSync(join(rig.kernel.paths.sys, 'bus'), { recursive: true });
    mkdirSync(join(rig.kernel.paths.sys, 'bus'));
    await rig.attach({ queueSize: 64 });
    expect(rig.device.queues[0]!.maxSize).toBe(64);
  });
});
