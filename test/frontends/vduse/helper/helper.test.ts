import { existsSync, linkSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { GatewayError } from '../../../../core/api/errors.ts';
import { type DeviceAdmin, LocalAdmin } from '../../../../frontends/vduse/device-admin.ts';
import { HelperClient } from '../../../../frontends/vduse/helper/helper-client.ts';
import { serveAdmin } from '../../../../frontends/vduse/helper/helper-server.ts';
import { devicePath, inFlightPath } from '../../../../frontends/vduse/host-paths.ts';
import { provideInFlightFile } from '../../../../frontends/vduse/inflight-file.ts';
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
      const admin = new LocalAdmin(this.kernel, disk);
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

  it('may be one for a hypervisor, and is left to it', async () => {
    await using rig = new HelperRig();
    const handle = await rig.attach({ attach: 'vm' });
    expect(handle.usage!.join()).toContain(handle.path);
    const guest = await rig.kernel.startHypervisor(NAME);
    expect(await guest.read(0, 512)).toMatchObject({ status: 0 });
    await expect(handle[Symbol.asyncDispose]()).rejects.toMatchObject({ code: 'vduse.open-in-vm' });
    rig.forget();
    await rig.attach({ attach: 'vm' });
    expect(await guest.read(0, 512)).toMatchObject({ status: 0 });
    await rig.kernel.stopHypervisor(NAME);
    await rig.stop();
    await Promise.all(rig.served);
    expect(rig.kernel.devices.size).toBe(0);
  });

  it('is left attached for the next process when it is released', async () => {
    await using rig = new HelperRig();
    const handle = await rig.attach();
    await handle.quiesce();
    await handle.release!();
    rig.forget();
    expect(existsSync(handle.path)).toBe(true);
    expect(existsSync(inFlightPath(rig.kernel.paths, NAME))).toBe(true);
    await rig.attach();
    expect(await rig.driver.read(3, 512)).toMatchObject({ status: 0 });
    await rig.stop();
    expect(existsSync(inFlightPath(rig.kernel.paths, NAME))).toBe(false);
    expect(existsSync(handle.path)).toBe(false);
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
        attach: (_, signal) =>
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
    await expect(client.attach('host', giveUp.signal)).rejects.toThrow('enough');
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
const LOGS = { call: 'provideInFlight', queues: 1, queueSize: 256, keep: false };

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
    ['logs of more than a queue can have', call(1, { ...LOGS, queueSize: 1025 })],
    ['a file of its own choice', call(1, { ...LOGS, path: '/etc/passwd' })],
    ['a driver of its own choice', call(1, { call: 'attach', attach: 'dummy' })],
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
    for (let count = 0; count < 16; count++) await client.attach('host', signal);
    await expect(client.attach('host', signal)).rejects.toMatchObject({ code: 'vduse.helper-ended' });
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

  it.runIf(process.getuid?.() === 0)('gives the logs of what is in flight to whoever serves it', async () => {
    await using rig = new Rig();
    const path = inFlightPath(rig.kernel.paths, NAME);
    const queues = { queues: 1, queueSize: 16 };
    // Left by a process that was root.
    provideInFlightFile(path, { ...queues, keep: false });
    writeFileSync(path, 'log', { flag: 'r+' });
    using admin = new LocalAdmin(rig.kernel, 'disk0', { uid: 65534, gid: 65533 });
    await admin.provideInFlight({ ...queues, keep: true });
    expect(readFileSync(path).subarray(0, 3).toString()).toBe('log');
    expect(statSync(path)).toMatchObject({ uid: 65534, gid: 65533, mode: 0o100600 });
    await admin.provideInFlight({ ...queues, keep: false });
    expect(readFileSync(path).every((byte) => byte === 0)).toBe(true);
    expect(statSync(path)).toMatchObject({ uid: 65534, gid: 65533, mode: 0o100600 });
    await admin.destroy();
    expect(existsSync(path)).toBe(false);
  });

  it.each([
    ['a link', (path: string, other: string) => symlinkSync(other, path)],
    ['a second name of one', (path: string, other: string) => linkSync(other, path)],
    ['a folder', (path: string) => mkdirSync(path)],
  ])('gives nothing away but that file: not %s in its place', async (_name, put) => {
    await using rig = new Rig();
    const other = join(rig.folder, 'other');
    const path = inFlightPath(rig.kernel.paths, NAME);
    provideInFlightFile(other, { queues: 1, queueSize: 16, keep: false });
    mkdirSync(dirname(path));
    put(path, other);
    const { uid, gid } = statSync(other);
    using admin = new LocalAdmin(rig.kernel, 'disk0', { uid: 65534, gid: 65533 });
    await expect(admin.provideInFlight({ queues: 1, queueSize: 16, keep: true })).rejects.toMatchObject({
      code: 'vduse.inflight-file',
    });
    expect(statSync(other)).toMatchObject({ uid, gid });
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
