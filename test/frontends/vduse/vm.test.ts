import { existsSync, mkdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { NAME, Rig, turns } from './rig.ts';

const VM = { attach: 'vm' };

afterEach(() => void vi.useRealTimers());

/** A process that has the device open, as /proc shows it. */
function open(rig: Rig, pid: number): void {
  const folder = join(rig.kernel.paths.proc, String(pid));
  mkdirSync(join(folder, 'fd'), { recursive: true });
  writeFileSync(join(folder, 'comm'), 'qemu-system-x86\n');
  symlinkSync(join(rig.kernel.paths.dev, 'vhost-vdpa-0'), join(folder, 'fd/20'));
}

const close = (rig: Rig, pid: number): void =>
  rmSync(join(rig.kernel.paths.proc, String(pid)), { recursive: true });

describe('a disk for a hypervisor', () => {
  it('is a device that a hypervisor can open, at a stable path, with what to tell it', async () => {
    await using rig = new Rig({ config: VM });
    const { path, usage } = await rig.attach();
    expect(readlinkSync(path)).toBe(join(rig.kernel.paths.dev, 'vhost-vdpa-0'));
    expect(usage).toContain(`  -device vhost-vdpa-device-pci,vhostdev=${path}`);
    expect(usage).toContain(`    <source dev='${path}'/>`);
  });

  it('does not show on this machine, though its driver comes first', async () => {
    await using rig = new Rig({ config: VM });
    await rig.kernel.loadModules('virtio_vdpa');
    await rig.attach();
    expect(rig.kernel.drivers.size).toBe(0);
    expect(existsSync(join(rig.kernel.paths.dev, 'vda'))).toBe(false);
    const guest = await rig.kernel.startHypervisor(NAME);
    expect(await guest.read(0, 512)).toMatchObject({ status: 0 });
    await rig.kernel.stopHypervisor(NAME);
  });

  it('serves one guest after the other, also those without an IOMMU', async () => {
    await using rig = new Rig({ config: VM });
    await rig.attach();
    for (const content of [1, 2]) {
      const guest = await rig.kernel.startHypervisor(NAME);
      const data = new Uint8Array(4096).fill(content);
      expect(await guest.write(8, data)).toMatchObject({ status: 0 });
      expect(rig.store.data.subarray(4096, 8192)).toEqual(data);
      await rig.kernel.stopHypervisor(NAME);
    }
  });

  it('knows who has it open, and that somebody drives it whom it cannot see', async () => {
    await using rig = new Rig({ config: VM });
    const handle = await rig.attach();
    expect(await handle.holders()).toEqual([]);
    await rig.kernel.startHypervisor(NAME);
    expect(await handle.holders()).toEqual([
      { kind: 'process', description: 'a process that cannot be seen from here' },
    ]);
    open(rig, 812);
    expect(await handle.holders()).toEqual([{ kind: 'process', description: 'pid 812 (qemu-system-x86)' }]);
    await rig.kernel.stopHypervisor(NAME);
    close(rig, 812);
  });

  it('is left to the hypervisor that has it open, and served again by the next start', async () => {
    await using rig = new Rig({ config: VM });
    const handle = await rig.attach();
    const guest = await rig.kernel.startHypervisor(NAME);
    open(rig, 812);
    rig.store.gate = () => new Promise((resolve) => setImmediate(resolve));
    const last = guest.read(0, 512);
    await turns(() => rig.store.active === 1);
    await expect(handle[Symbol.asyncDispose]()).rejects.toMatchObject({
      code: 'vduse.open-in-vm',
      why: expect.stringContaining('pid 812 (qemu-system-x86)'),
    });
    rig.forget();
    expect(await last).toMatchObject({ status: 0 });
    expect(rig.device.attached).toBe(true);
    expect(rig.device.opened).toBe(false);

    await rig.attach();
    expect(await guest.read(1, 512)).toMatchObject({ status: 0 });
    await rig.kernel.stopHypervisor(NAME);
    close(rig, 812);
    await rig.stop();
    expect(rig.kernel.devices.size).toBe(0);
  });

  it('that nobody used when its process died is served again as it is', async () => {
    await using rig = new Rig({ config: VM });
    await rig.attach();
    rig.kill();
    rig.kernel.bus.add = () => Promise.reject(new Error('it was there already'));
    await rig.attach();
    const guest = await rig.kernel.startHypervisor(NAME);
    expect(await guest.read(0, 512)).toMatchObject({ status: 0 });
    await rig.kernel.stopHypervisor(NAME);
  });

  it('whose process died before it had its driver is made anew', async () => {
    await using rig = new Rig({ config: VM });
    await rig.attach();
    rig.kill();
    rmSync(join(rig.kernel.paths.sys, 'bus/vdpa/devices', NAME, 'vhost-vdpa-0'), { recursive: true });
    const { path } = await rig.attach();
    expect(readlinkSync(path)).toBe(join(rig.kernel.paths.dev, 'vhost-vdpa-0'));
  });

  it('that the kernel has given up is made anew, but not under a hypervisor', async () => {
    await using rig = new Rig({ config: VM });
    await rig.attach();
    rig.kill();
    const abandoned = rig.device;
    abandoned.break();
    open(rig, 812);
    await expect(rig.attach()).rejects.toMatchObject({
      code: 'vduse.device-broken',
      why: expect.stringContaining('pid 812 (qemu-system-x86)'),
    });
    close(rig, 812);
    await rig.attach();
    expect(rig.device).not.toBe(abandoned);
    const guest = await rig.kernel.startHypervisor(NAME);
    expect(await guest.read(0, 512)).toMatchObject({ status: 0 });
    await rig.kernel.stopHypervisor(NAME);
  });

  it('does not become one of this machine while it is attached', async () => {
    await using rig = new Rig({ config: VM });
    await rig.attach();
    rig.kill();
    await expect(rig.attach({ attach: 'host' })).rejects.toMatchObject({
      code: 'vduse.device-differs',
      why: expect.stringContaining('attach: "vm", now "host"'),
    });
  });

  it('notices that somebody else has detached it before a guest ever came', async () => {
    await using rig = new Rig({ config: VM });
    const handle = await rig.attach();
    await rig.kernel.bus.remove(NAME);
    expect(await handle.closed).toMatchObject({ code: 'vduse.detached' });
  });

  it('answers the reset of a hypervisor that is killed while its memory is mapped anew, whatever the store does', async () => {
    await using rig = new Rig({ config: { ...VM, msgTimeout: 20 } });
    await rig.attach();
    const guest = await rig.kernel.startHypervisor(NAME);
    const stuck = Promise.withResolvers<void>();
    rig.store.gate = () => stuck.promise;
    void guest.read(0, 512);
    await turns(() => rig.store.active === 1);
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    void rig.device.updateIotlb();
    await turns(() => !rig.device.readable);
    rig.device.forgetMessages();
    let answered = false;
    const reset = rig.device.setStatus(0).then(() => {
      answered = true;
    });
    for (let waited = 0; waited < 18_000 && !answered; waited += 500) {
      await vi.advanceTimersByTimeAsync(500);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(answered).toBe(true);
    await reset;
    vi.useRealTimers();
    stuck.resolve();
    await rig.kernel.stopHypervisor(NAME);
  });

  it('does not take a guest for gone when it resets the device', async () => {
    await using rig = new Rig({ config: VM });
    const handle = await rig.attach();
    let closed = false;
    void handle.closed.then(() => {
      closed = true;
    });
    await rig.kernel.startHypervisor(NAME);
    await rig.kernel.stopHypervisor(NAME);
    const guest = await rig.kernel.startHypervisor(NAME);
    await turns(() => !closed);
    expect(await guest.read(0, 512)).toMatchObject({ status: 0 });
    await rig.kernel.stopHypervisor(NAME);
  });
});
