import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { GatewayError } from '../../../../core/api/errors.ts';
import { type DeviceAdmin, LocalAdmin } from '../../../../frontends/vduse/device-admin.ts';
import { HelperClient } from '../../../../frontends/vduse/helper/helper-client.ts';
import { serveAdmin } from '../../../../frontends/vduse/helper/helper-server.ts';
import { devicePath } from '../../../../frontends/vduse/host-paths.ts';
import { NAME, Rig } from '../rig.ts';

/** A disk whose frontend has the scripted kernel for itself, but for what takes root. */
class HelperRig extends Rig {
  readonly served: Promise<void>[] = [];
  /** From the disk's process to the helper. */
  requests = new PassThrough();

  constructor() {
    super();
    this.kernel.administer = (disk) => {
      this.requests = new PassThrough();
      const replies = new PassThrough();
      const { syscalls: _, ...rest } = this.kernel;
      const admin = new LocalAdmin(
        { ...rest, syscalls: this.kernel.syscalls, loadModules: async () => {} },
        disk,
      );
      this.served.push(
        serveAdmin(admin, this.requests, replies).finally(() => {
          admin[Symbol.dispose]();
          replies.end();
        }),
      );
      return new HelperClient(replies, this.requests);
    };
  }
}

describe('a disk with a helper', () => {
  it('is attached, served, and leaves nothing behind', async () => {
    await using rig = new HelperRig();
    const handle = await rig.attach({ bounceSize: '128MiB' });
    const data = new Uint8Array(4096).fill(0x5a);
    expect(await rig.driver.write(8, data)).toMatchObject({ status: 0, written: 1 });
    expect(await handle.holders()).toEqual([]);
    await handle[Symbol.asyncDispose]();
    await Promise.all(rig.served);
    expect(rig.kernel.devices.size).toBe(0);
  });

  it('is adopted by the next process', async () => {
    await using rig = new HelperRig();
    await rig.attach();
    rig.kill();
    rig.requests.end();
    await rig.attach();
    expect(await rig.driver.read(3, 512)).toMatchObject({ status: 0 });
    await rig.stop();
    await Promise.all(rig.served);
  });

  it('passes errors on with code, reason and fix', async () => {
    await using rig = new HelperRig();
    rig.kernel.bus.add = () =>
      Promise.reject(new GatewayError('vduse.attach-failed', 'No.', { why: 'So.', fix: 'Ask again.' }));
    await expect(rig.attach()).rejects.toMatchObject({
      code: 'vduse.attach-failed',
      message: 'No.',
      why: 'So.',
      fix: 'Ask again.',
    });
    await Promise.all(rig.served);
    expect(rig.kernel.devices.size).toBe(0);
  });

  it('can give up waiting for the bus, and detach afterwards', async () => {
    const giveUp = new AbortController();
    const calls: string[] = [];
    const input = new PassThrough();
    const output = new PassThrough();
    const served = serveAdmin(
      fakeAdmin({
        attach: (signal) =>
          new Promise((_, reject) => {
            calls.push('attach');
            giveUp.abort(new Error('enough'));
            signal.addEventListener('abort', () => reject(signal.reason));
          }),
        detach: async () => void calls.push('detach'),
      }),
      input,
      output,
    );
    const client = new HelperClient(output, input);
    await expect(client.attach(giveUp.signal)).rejects.toThrow('enough');
    await client.detach(new AbortController().signal);
    expect(calls).toEqual(['attach', 'detach']);
    client[Symbol.dispose]();
    await served;
  });

  it('says so when its helper is gone', async () => {
    const output = new PassThrough();
    const client = new HelperClient(output, new PassThrough());
    const pending = client.destroy();
    output.end();
    await expect(pending).rejects.toMatchObject({ code: 'vduse.helper-ended' });
    await expect(client.unlink()).rejects.toMatchObject({ code: 'vduse.helper-ended' });
    expect(await client.holders()).toEqual([]);
  });
});

const call = (id: number, request: object): string => `${JSON.stringify({ id, request })}\n`;
const CREATE = { call: 'create', features: '1', queues: 1, configSpace: '00' };

describe('a helper', () => {
  it.each([
    ['no JSON', 'destroy\n'],
    ['a call that does not exist', call(1, { call: 'exec', command: 'sh' })],
    ['a name of its own choice', call(1, { call: 'destroy', name: 'other' })],
    ['a path', call(1, { call: 'link', path: '/etc/passwd' })],
    ['too many queues', call(1, { ...CREATE, queues: 65 })],
    ['features of more than 64 bits', call(1, { ...CREATE, features: '1'.repeat(17) })],
    ['a configuration space that is no hex', call(1, { ...CREATE, configSpace: '0' })],
    ['a configuration space beyond all measure', call(1, { ...CREATE, configSpace: '00'.repeat(257) })],
    ['no time limit for messages', call(1, { call: 'configure', msgTimeout: 0 })],
    ['text for a number', call(1, { call: 'configure', msgTimeout: '120' })],
    ['bounce memory of any size', call(1, { call: 'configure', msgTimeout: 120, bounceSize: 2 ** 40 })],
    ['a line without end', 'x'.repeat(2 ** 20)],
  ])('ends at %s, and does nothing', async (_name, text) => {
    const calls: string[] = [];
    const input = new PassThrough();
    const served = serveAdmin(recordingAdmin(calls), input, new PassThrough());
    input.write(text);
    await expect(served).rejects.toThrow();
    expect(calls).toEqual([]);
  });

  it('ends at more calls at a time than any disk has', async () => {
    const input = new PassThrough();
    const never = new Promise<never>(() => {});
    const served = serveAdmin(fakeAdmin({ holders: () => never }), input, new PassThrough());
    for (let id = 1; id <= 9; id++) input.write(call(id, { call: 'holders' }));
    await expect(served).rejects.toThrow('too many requests at a time');
  });

  it('ends at more calls to the bus than any disk makes: each may leave a process that waits in the kernel', async () => {
    const input = new PassThrough();
    const output = new PassThrough();
    let attached = 0;
    const admin = fakeAdmin({ attach: async () => void attached++ });
    const served = serveAdmin(admin, input, output);
    served.catch(() => output.end());
    const client = new HelperClient(output, input);
    const { signal } = new AbortController();
    for (let count = 0; count < 16; count++) await client.attach(signal);
    await expect(client.attach(signal)).rejects.toMatchObject({ code: 'vduse.helper-ended' });
    await expect(served).rejects.toThrow('too many requests to the bus');
    expect(attached).toBe(16);
  });

  it.runIf(process.getuid?.() === 0)('gives the new device to whoever is to serve it', async () => {
    await using rig = new Rig();
    const path = devicePath(rig.kernel.paths, NAME);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, '');
    using admin = new LocalAdmin(rig.kernel, 'disk0', { uid: 65534, gid: 65533 });
    await admin.create({ features: 1n << 33n, queues: 1, configSpace: new Uint8Array(96) });
    expect(statSync(path)).toMatchObject({ uid: 65534, gid: 65533 });
    await admin.destroy();
  });
});

function fakeAdmin(methods: Partial<DeviceAdmin>): DeviceAdmin {
  return methods as DeviceAdmin;
}

function recordingAdmin(calls: string[]): DeviceAdmin {
  return new Proxy({} as DeviceAdmin, {
    get: (_, name) => async () => void calls.push(String(name)),
  });
}
