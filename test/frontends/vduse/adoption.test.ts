import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GatewayError } from '../../../core/api/errors.ts';
import { NAME, Rig, turns } from './rig.ts';

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return GatewayError.is(error) ? error.code : `no GatewayError: ${String(error)}`;
}

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

  it('is refused while requests are unanswered, and stays for whoever can tell which', async () => {
    await using rig = new Rig();
    await rig.attach();
    rig.store.gate = () => new Promise(() => {});
    void rig.driver.read(0, 512);
    void rig.driver.read(1, 512);
    await turns(() => rig.store.active === 2);
    rig.kill();
    expect(await codeOf(rig.attach())).toBe('vduse.requests-outstanding');
    expect(rig.device.attached).toBe(true);
    expect(rig.device.opened).toBe(false);
  });

  it('is refused with packed virtqueues: nobody knows how far they are', async () => {
    await using rig = new Rig({ config: { ring: 'packed' } });
    await rig.attach();
    rig.kill();
    expect(await codeOf(rig.attach())).toBe('vduse.requests-outstanding');
    expect(rig.device.attached).toBe(true);
    expect(rig.device.opened).toBe(false);
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
