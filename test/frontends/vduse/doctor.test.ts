import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { dirname } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkHost } from '../../../frontends/vduse/doctor.ts';
import { FakeKernel } from '../../support/fake-kernel.ts';
import type { KernelGeneration } from '../../support/kernel-generation.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const ROOT = 'Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n';
const DEPENDENCIES = 'kernel/drivers/vdpa/vdpa_user/vduse.ko.xz: \nkernel/drivers/virtio/virtio_vdpa.ko: \n';

/** A machine as files: those given, and what a healthy one has besides. */
function machine(files: Record<string, string> = {}, links: Record<string, string> = {}) {
  const folder = tempFolder();
  const write = (name: string, make: (path: string) => void): void => {
    mkdirSync(dirname(folder.file(name)), { recursive: true });
    make(folder.file(name));
  };
  const all = { 'proc/self/status': ROOT, [`modules/${release()}/modules.dep`]: DEPENDENCIES, ...files };
  for (const [name, text] of Object.entries(all)) write(name, (path) => writeFileSync(path, text));
  const net = { 'proc/self/ns/net': 'net:[1]', 'proc/1/ns/net': 'net:[1]', ...links };
  for (const [name, target] of Object.entries(net)) write(name, (path) => symlinkSync(target, path));
  const paths = {
    dev: folder.file('dev'),
    proc: folder.file('proc'),
    sys: folder.file('sys'),
    run: folder.file('run'),
  };
  return {
    check: (attach: 'host' | 'vm' = 'host') => checkHost(attach, paths, folder.file('modules')),
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  };
}

describe('checkHost', () => {
  it('finds nothing wrong with a machine that has all', () => {
    using host = machine();
    expect(host.check().map(({ severity }) => severity)).toEqual(['ok', 'ok', 'ok', 'ok']);
  });

  it('takes a loaded module for one, wherever its file is', () => {
    using host = machine({
      [`modules/${release()}/modules.dep`]: '',
      'sys/module/vduse/refcnt': '0',
      'sys/module/virtio_vdpa/refcnt': '0',
    });
    expect(host.check().every(({ severity }) => severity === 'ok')).toBe(true);
  });

  it('wants the driver by which the disk is used', () => {
    using host = machine();
    expect(host.check('vm')).toContainEqual(
      expect.objectContaining({ severity: 'error', summary: `kernel ${release()} has no module vhost_vdpa` }),
    );
  });

  it('finds modules that are part of the kernel', () => {
    using host = machine({
      [`modules/${release()}/modules.dep`]: '',
      [`modules/${release()}/modules.builtin`]:
        'kernel/drivers/vdpa/vduse.ko\nkernel/drivers/virtio/virtio-vdpa.ko\n',
    });
    expect(host.check().every(({ severity }) => severity === 'ok')).toBe(true);
  });

  it('reports a kernel without VDUSE, with a kernel that has it', () => {
    using host = machine({ [`modules/${release()}/modules.dep`]: 'kernel/fs/ext4/ext4.ko:\n' });
    const errors = host.check().filter(({ severity }) => severity === 'error');
    expect(errors).toHaveLength(2);
    expect(errors[0]).toMatchObject({ summary: `kernel ${release()} has no module vduse` });
    expect(errors[0]!.fix).toContain('CONFIG_VDPA_USER');
  });

  it.each<[KernelGeneration, string]>([
    ['6.12', 'API version 0'],
    ['7.0', 'API version 1'],
    ['7.3', 'API version 1 with QUEUE_READY, SUSPEND'],
    ['future', 'API version 2 with QUEUE_READY, SUSPEND, bit 2'],
  ])('tells what the VDUSE of Linux %s has', (generation, api) => {
    using folder = tempFolder();
    using kernel = new FakeKernel(folder.path, generation);
    expect(checkHost('host', kernel.paths, folder.path, kernel.syscalls)).toContainEqual({
      severity: 'ok',
      summary: `VDUSE of kernel ${release()} has ${api}`,
    });
    expect(kernel.leaks).toEqual([]);
  });

  it('reports a missing capability', () => {
    using host = machine({ 'proc/self/status': 'Uid:\t1000\t1000\nCapEff:\t0000000000000000\n' });
    expect(host.check()).toContainEqual({
      severity: 'error',
      summary: 'this process may not attach devices: it lacks CAP_NET_ADMIN',
      fix: 'run the gateway as root; with "--user NAME" only helpers of it stay root',
    });
  });

  it('tells whoever is not root how to have the modules loaded', () => {
    using host = machine({ 'proc/self/status': 'Uid:\t1000\t1000\nCapEff:\t0000000000000000\n' });
    const [vduse] = host.check();
    expect(vduse).toMatchObject({ severity: 'warning', summary: expect.stringContaining('by root') });
    expect(vduse!.fix).toContain('modules-load.d');
  });

  it('reports a network namespace in which there is no vDPA bus', () => {
    using host = machine({}, { 'proc/1/ns/net': 'net:[2]' });
    expect(host.check().at(-1)).toMatchObject({ severity: 'error' });
  });
});
