import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nbdConfig } from '../../../backends/nbd/config.ts';
import nbdBackend from '../../../backends/nbd/index.ts';
import { BlockError } from '../../../core/api/errors.ts';
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_DISC,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_EINVAL,
  NBD_EIO,
  NBD_ENOMEM,
  NBD_ENOSPC,
  NBD_EPERM,
  NBD_FLAG_SEND_CACHE,
  NBD_OPT_ABORT,
  NBD_OPT_EXPORT_NAME,
  NBD_OPT_EXTENDED_HEADERS,
  NBD_OPT_GO,
  NBD_OPT_LIST,
  NBD_OPT_LIST_META_CONTEXT,
  NBD_OPT_SET_META_CONTEXT,
  NBD_OPT_STARTTLS,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_OPTS_MAGIC,
  NBD_REP_ACK,
  NBD_REP_ERR_EXT_HEADER_REQD,
  NBD_REP_ERR_INVALID,
  NBD_REP_ERR_POLICY,
  NBD_REP_ERR_UNKNOWN,
  NBD_REP_ERR_UNSUP,
  NBD_REP_INFO,
  NBD_REP_META_CONTEXT,
  NBD_REP_SERVER,
} from '../../../core/nbd/protocol.ts';
import { nbdServerConfig } from '../../../frontends/nbd/config.ts';
import { eventually } from '../../core/app/rig.ts';
import { FakeDevice } from '../../support/fake-device.ts';
import { freePort } from '../../support/free-port.ts';
import { openContext } from '../../support/plugin-context.ts';
import { RawNbdClient } from '../../support/raw-nbd-client.ts';
import { join, u16, u32, u64 } from '../../support/scripted-nbd-server.ts';
import { type ServedExport, serveDevice } from '../../support/served-export.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const SIZE = 2 ** 20;

let folder: ReturnType<typeof tempFolder>;
let owned: AsyncDisposableStack;
let device: FakeDevice;

beforeEach(() => {
  folder = tempFolder();
  owned = new AsyncDisposableStack();
  owned.defer(() => folder[Symbol.dispose]());
  device = new FakeDevice({ size: SIZE, caps: { concurrency: 'parallel' } });
});

afterEach(() => owned.disposeAsync());

const socket = () => folder.file('nbd.sock');

async function serve(config: object = {}, readOnly = false): Promise<ServedExport> {
  return owned.use(await serveDevice(device, folder.path, config, readOnly));
}

async function client(flags?: number): Promise<RawNbdClient> {
  return owned.use(await RawNbdClient.connect(socket(), flags));
}

const named = (name: string, ...rest: Uint8Array[]): Buffer =>
  join(u32(name.length), Buffer.from(name), ...rest);
/** To the transmission phase: the flags of the export. */
async function flagsOf(raw: RawNbdClient): Promise<number> {
  const replies = await raw.option(NBD_OPT_GO, named('', u16(0)));
  const info = replies.find(({ type, data }) => type === NBD_REP_INFO && data.readUInt16BE(0) === 0);
  return info!.data.readUInt16BE(10);
}

const query = (text: string): Buffer => named(text);
const block = (byte: number, length = 512): Buffer => Buffer.alloc(length, byte);

describe('an NBD server negotiates', () => {
  it.each([
    ['an option that nobody knows', 4711, Buffer.alloc(9), NBD_REP_ERR_UNSUP],
    ['another export', NBD_OPT_GO, named('other', u16(0)), NBD_REP_ERR_UNKNOWN],
    ['a name that is longer than the option', NBD_OPT_GO, u32(99), NBD_REP_ERR_INVALID],
    ['nothing where a name belongs', NBD_OPT_GO, Buffer.alloc(0), NBD_REP_ERR_INVALID],
    ['more requests than are there', NBD_OPT_GO, named('', u16(3)), NBD_REP_ERR_INVALID],
    ['a list with an argument', NBD_OPT_LIST, u32(0), NBD_REP_ERR_INVALID],
    ['TLS', NBD_OPT_STARTTLS, Buffer.alloc(0), NBD_REP_ERR_POLICY],
    ['contexts without chunks', NBD_OPT_SET_META_CONTEXT, named('', u32(0)), NBD_REP_ERR_INVALID],
    ['four billion queries', NBD_OPT_LIST_META_CONTEXT, named('', u32(2 ** 32 - 1)), NBD_REP_ERR_INVALID],
    ['chunks with an argument', NBD_OPT_STRUCTURED_REPLY, u32(0), NBD_REP_ERR_INVALID],
  ])('and refuses %s', async (_name, option, data, error) => {
    await serve();
    const raw = await client();
    const replies = await raw.option(option, data);
    expect(replies.map(({ type }) => type)).toEqual([error]);
    // It is of use after that.
    expect(await raw.option(NBD_OPT_LIST)).toEqual([
      { type: NBD_REP_SERVER, data: named('disk0') },
      { type: NBD_REP_ACK, data: Buffer.alloc(0) },
    ]);
  });

  it.each<[string, (raw: RawNbdClient) => void]>([
    ['does not know the magic', (raw) => raw.send(u64(1n), u32(1), u32(0))],
    ['sends options without end', (raw) => raw.send(u64(NBD_OPTS_MAGIC), u32(4711), u32(0xffff_ffff))],
    [
      'does not come to an end',
      (raw) => {
        for (let i = 0; i < 1001; i++) raw.send(u64(NBD_OPTS_MAGIC), u32(4711), u32(0));
      },
    ],
    [
      'asks for an export that is not there in the old way',
      (raw) => raw.send(u64(NBD_OPTS_MAGIC), u32(NBD_OPT_EXPORT_NAME), named('other')),
    ],
    ['leaves', (raw) => raw.socket.end()],
    ['breaks off', (raw) => raw.socket.destroy()],
  ])('and gives up a client that %s', async (_name, misbehave) => {
    const { handle } = await serve();
    const raw = await client();
    raw.socket.resume();
    misbehave(raw);
    await raw.closed;
    expect(await handle.holders()).toEqual([]);
    const next = await client();
    await next.go();
  });

  it('and gives up a client with unknown flags', async () => {
    await serve();
    const raw = await client(0xff);
    await raw.closed;
  });

  it('the old way, with and without zeros', async () => {
    await serve();
    for (const [flags, length] of [
      [1, 134],
      [3, 10],
    ] as const) {
      const raw = await client(flags);
      raw.send(u64(NBD_OPTS_MAGIC), u32(NBD_OPT_EXPORT_NAME), u32(5), Buffer.from('disk0'));
      const bytes = await raw.reader.take(length);
      expect(Number(bytes.readBigUInt64BE(0))).toBe(SIZE);
      raw.request(NBD_CMD_READ, 0, 512);
      expect(await raw.reply(512)).toMatchObject({ error: 0 });
    }
  });

  it('contexts: what was set last counts', async () => {
    await serve();
    const raw = await client();
    await raw.option(NBD_OPT_STRUCTURED_REPLY);
    const listed = await raw.option(NBD_OPT_LIST_META_CONTEXT, named('disk0', u32(1), query('base:')));
    expect(listed.map(({ type }) => type)).toEqual([NBD_REP_META_CONTEXT, NBD_REP_ACK]);
    const set = await raw.option(NBD_OPT_SET_META_CONTEXT, named('', u32(1), query('base:allocation')));
    expect(set.map(({ type }) => type)).toEqual([NBD_REP_META_CONTEXT, NBD_REP_ACK]);
    const unset = await raw.option(NBD_OPT_SET_META_CONTEXT, named('', u32(1), query('other:thing')));
    expect(unset.map(({ type }) => type)).toEqual([NBD_REP_ACK]);
    await raw.go();
    raw.request(NBD_CMD_BLOCK_STATUS, 0, 4096);
    const header = await raw.reader.take(20);
    expect(header.readUInt16BE(6)).toBe(0x8001);
  });

  it('extended headers once and for all', async () => {
    await serve();
    const raw = await client();
    await raw.option(NBD_OPT_EXTENDED_HEADERS);
    const replies = await raw.option(NBD_OPT_STRUCTURED_REPLY);
    expect(replies[0]).toMatchObject({ type: NBD_REP_ERR_EXT_HEADER_REQD });
  });

  it('and says goodbye', async () => {
    await serve();
    const raw = await client();
    expect(await raw.option(NBD_OPT_ABORT)).toMatchObject([{ type: NBD_REP_ACK }]);
    await raw.closed;
  });
});

describe('an NBD server', () => {
  it.each([
    ['a command that nobody knows', 99, 0, 512, 0, NBD_EINVAL],
    ['a flag that nobody knows', NBD_CMD_READ, 0, 512, 0x80, NBD_EINVAL],
    ['a read of nothing', NBD_CMD_READ, 0, 0, 0, NBD_EINVAL],
    ['a read after the end', NBD_CMD_READ, SIZE - 512, 1024, 0, NBD_EINVAL],
    ['a read of half a sector', NBD_CMD_READ, 0, 100, 0, NBD_EINVAL],
    ['a read of 4 GiB', NBD_CMD_READ, 0, 2 ** 32 - 512, 0, NBD_EINVAL],
    ['a cache request after the end', NBD_CMD_CACHE, SIZE - 512, 1024, 0, NBD_EINVAL],
    ['a cache request of nothing', NBD_CMD_CACHE, 0, 0, 0, NBD_EINVAL],
    ['a cache request of half a sector', NBD_CMD_CACHE, 0, 100, 0, NBD_EINVAL],
    ['a cache request with a flag', NBD_CMD_CACHE, 0, 512, 1, NBD_EINVAL],
    ['a cache request of 4 GiB', NBD_CMD_CACHE, 0, 2 ** 32 - 512, 0, NBD_EINVAL],
    ['a trim after the end', NBD_CMD_TRIM, SIZE, 512, 0, NBD_ENOSPC],
    ['a flush with a range', NBD_CMD_FLUSH, 512, 512, 0, NBD_EINVAL],
    ['the status of blocks without a context', NBD_CMD_BLOCK_STATUS, 0, 512, 0, NBD_EINVAL],
  ])('refuses %s, and goes on', async (_name, command, offset, length, flags, error) => {
    await serve();
    const raw = await client();
    await raw.go();
    raw.request(command, offset, length, Buffer.alloc(0), flags, 7);
    expect(await raw.reply()).toMatchObject({ error, cookie: 7 });
    raw.request(NBD_CMD_READ, 0, 512);
    expect(await raw.reply(512)).toMatchObject({ error: 0 });
  });

  it('passes over the data of a write that is refused', async () => {
    await serve();
    const raw = await client();
    await raw.go();
    for (const [offset, length, error] of [
      [SIZE, 512, NBD_ENOSPC],
      [0, 33 * SIZE, NBD_ENOSPC],
      [0, 100, NBD_EINVAL],
    ] as const) {
      raw.request(NBD_CMD_WRITE, offset, length, Buffer.alloc(length, 9));
      expect(await raw.reply()).toMatchObject({ error });
    }
    expect(device.data.every((byte) => byte === 0)).toBe(true);
  });

  it('refuses writes of a read-only disk', async () => {
    await serve({}, true);
    const raw = await client();
    await raw.go();
    raw.request(NBD_CMD_WRITE, 0, 512, block(1));
    expect(await raw.reply()).toMatchObject({ error: NBD_EPERM });
  });

  it.each([false, true])('offers CACHE and fetches ahead (read-only: %s)', async (readOnly) => {
    await serve({}, readOnly);
    const raw = await client();
    expect((await flagsOf(raw)) & NBD_FLAG_SEND_CACHE).not.toBe(0);
    raw.request(NBD_CMD_CACHE, 4096, 65536, Buffer.alloc(0), 0, 9);
    expect(await raw.reply()).toMatchObject({ error: 0, cookie: 9 });
    expect(device.calls).toMatchObject([{ op: 'prefetch', offset: 4096, length: 65536 }]);
    device.gate = () => Promise.reject(new BlockError('ENOMEM', 'no room'));
    raw.request(NBD_CMD_CACHE, 0, 512);
    expect(await raw.reply()).toMatchObject({ error: NBD_ENOMEM });
    device.gate = undefined;
    raw.request(NBD_CMD_READ, 0, 512);
    expect(await raw.reply(512)).toMatchObject({ error: 0 });
  });

  it('neither offers CACHE nor takes it where the disk cannot fetch ahead', async () => {
    Object.assign(device, { prefetch: undefined });
    await serve();
    const raw = await client();
    expect((await flagsOf(raw)) & NBD_FLAG_SEND_CACHE).toBe(0);
    raw.request(NBD_CMD_CACHE, 0, 512);
    expect(await raw.reply()).toMatchObject({ error: NBD_EINVAL });
    expect(device.calls).toEqual([]);
  });

  it('takes no more cache requests of a client than reads of as many bytes', async () => {
    device = new FakeDevice({ size: 64 * SIZE, caps: { concurrency: 'parallel' } });
    const { volume } = await serve();
    const gate = Promise.withResolvers<void>();
    device.gate = () => gate.promise;
    const raw = await client();
    await raw.go();
    for (let i = 0; i < 20; i++) raw.request(NBD_CMD_CACHE, 0, 16 * SIZE, Buffer.alloc(0), 0, i);
    await eventually(() => volume.inFlight === 4);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(volume.inFlight).toBe(4);
    gate.resolve();
    for (let i = 0; i < 20; i++) expect(await raw.reply()).toMatchObject({ error: 0 });
  });

  it('gives up a client that sends noise, and loses no request of it before that', async () => {
    await serve();
    const raw = await client();
    await raw.go();
    raw.request(NBD_CMD_WRITE, 0, 512, block(5));
    raw.send(Buffer.alloc(28, 0x5a));
    raw.socket.resume();
    await raw.closed;
    expect(device.data[511]).toBe(5);
  });

  it('answers in the order in which requests are done, and before it says goodbye', async () => {
    await serve();
    const raw = await client();
    const gates: (() => void)[] = [];
    device.gate = () => new Promise((resolve) => gates.push(resolve));
    await raw.go();
    raw.request(NBD_CMD_WRITE, 0, 512, block(1), 0, 1);
    raw.request(NBD_CMD_READ, 512, 512, Buffer.alloc(0), 0, 2);
    raw.request(NBD_CMD_DISC, 0, 0);
    await eventually(() => gates.length === 2);
    gates[1]!();
    expect(await raw.reply(512)).toMatchObject({ cookie: 2, error: 0 });
    gates[0]!();
    expect(await raw.reply()).toMatchObject({ cookie: 1, error: 0 });
    raw.socket.resume();
    await raw.closed;
  });

  it('tells what went wrong', async () => {
    await serve();
    device.gate = ({ op }) => {
      if (op === 'read') throw new BlockError('EIO', 'the store is on fire');
    };
    const raw = await client();
    await raw.go('structured');
    raw.request(NBD_CMD_READ, 0, 512, Buffer.alloc(0), 0, 3);
    const header = await raw.reader.take(20);
    expect([header.readUInt16BE(4), header.readUInt16BE(6)]).toEqual([1, 0x8001]);
    const data = await raw.reader.take(header.readUInt32BE(16));
    expect([data.readUInt32BE(0), data.toString('utf8', 6)]).toEqual([NBD_EIO, 'the store is on fire']);
  });

  it('takes no more of a client than it can have under way', async () => {
    const { volume } = await serve();
    const open: (() => void)[] = [];
    device.gate = () => new Promise((resolve) => open.push(resolve));
    const raw = await client();
    await raw.go();
    for (let i = 0; i < 1000; i++) raw.request(NBD_CMD_READ, 0, 512, Buffer.alloc(0), 0, i);
    await eventually(() => volume.inFlight === 256);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(volume.inFlight).toBe(256);
    device.gate = undefined;
    for (const go of open) go();
    for (let i = 0; i < 1000; i++) expect(await raw.reply(512)).toMatchObject({ error: 0 });
  });

  it('makes no replies without end for a client that does not fetch them', async () => {
    device = new FakeDevice({ size: 64 * SIZE, caps: { concurrency: 'parallel' } });
    const { volume } = await serve();
    const raw = await client();
    await raw.go();
    raw.reader[Symbol.dispose]();
    raw.socket.pause();
    for (let i = 0; i < 20; i++) raw.request(NBD_CMD_READ, 0, 32 * SIZE, Buffer.alloc(0), 0, i);
    await eventually(() => device.calls.length >= 2);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(device.calls.length).toBeLessThan(6);
    expect(volume.inFlight).toBe(0);
  });

  it('has a bound on its clients', async () => {
    const { log } = await serve({ connections: 2 });
    await (await client()).go();
    await (await client()).go();
    await expect(RawNbdClient.connect(socket())).rejects.toThrow();
    expect(JSON.stringify(log)).toContain('turned away');
  });

  it('says who is there, and stops when they are gone', async () => {
    const { handle } = await serve();
    expect(await handle.holders()).toEqual([]);
    const raw = await client();
    await raw.go();
    await eventually(async () => (await handle.holders()).length === 1);
    expect(handle.status!()).toMatchObject({ clients: ['connection 1'], tls: false });
    raw.socket.destroy();
    await eventually(async () => (await handle.holders()).length === 0);
  });

  it('lets requests under way finish when it stops', async () => {
    const served = await serve();
    const raw = await client();
    await raw.go();
    let go = (): void => {};
    device.gate = () => new Promise((resolve) => (go = resolve));
    raw.request(NBD_CMD_WRITE, 0, 512, block(1), 0, 1);
    await eventually(() => served.volume.inFlight === 1);
    const quiet = served.handle.quiesce();
    raw.request(NBD_CMD_WRITE, 512, 512, block(2), 0, 2);
    go();
    await quiet;
    expect(await raw.reply()).toMatchObject({ cookie: 1, error: 0 });
    await served.handle[Symbol.asyncDispose]();
    raw.socket.resume();
    await raw.closed;
    expect([device.data[0], device.data[512]]).toEqual([1, 0]);
    expect(existsSync(socket())).toBe(false);
  });

  it('takes the place of one that was killed, and not of one that lives', async () => {
    const alive = createServer().listen(socket());
    await new Promise((resolve) => alive.once('listening', resolve));
    await expect(serve()).rejects.toMatchObject({ code: 'nbd.address-in-use' });
    // As a process that is killed: the socket stays.
    const left = folder.file('left.sock');
    spawnSync(process.execPath, [
      '-e',
      `require('node:net').createServer().listen(${JSON.stringify(left)}, () => process.kill(process.pid, 'SIGKILL'))`,
    ]);
    expect(existsSync(left)).toBe(true);
    await serve({ socket: left, mode: '660' });
    expect(statSync(left).mode & 0o777).toBe(0o660);
    alive.close();
  });

  it('says so when it cannot listen', async () => {
    await expect(serve({ socket: 'no/such/folder/x.sock' })).rejects.toMatchObject({
      code: 'nbd.cannot-listen',
    });
    await expect(serve({ socket: `${'x'.repeat(120)}.sock` })).rejects.toMatchObject({
      code: 'nbd.cannot-listen',
    });
  });
});

describe('our own client', () => {
  it.each([
    [1, 'a Unix socket'],
    [4, 'a Unix socket'],
    [4, 'TCP'],
  ])('uses all of it, with %i connections, over %s', async (connections, way) => {
    const { handle } = await serve(way === 'TCP' ? { listen: `127.0.0.1:${await freePort()}` } : {});
    const ctx = openContext(folder.path);
    const config = nbdConfig.parse({ uri: handle.path, connections });
    const disk = owned.use(await nbdBackend.open(config, ctx));
    expect(disk.status!()).toMatchObject({ connections });
    await Promise.all(
      Array.from({ length: 64 }, (_, i) =>
        disk.write!(i * 4096, [block(i + 1, 4000), block(i + 1, 96)], i % 2),
      ),
    );
    await disk.flush!(0);
    const into = Buffer.alloc(64 * 4096);
    await disk.read(0, [into], 0);
    for (let i = 0; i < 64; i++) expect(into[i * 4096 + 4095]).toBe(i + 1);
    await disk.discard!(0, SIZE, 0);
    await disk.writeZeroes!(0, SIZE, 2);
    await disk.read(0, [into], 0);
    expect(into.every((byte) => byte === 0)).toBe(true);
    expect(await disk.extents!(0, SIZE)).toEqual([{ offset: 0, length: SIZE, kind: 'data' }]);
    expect(device.calls.some(({ op }) => op === 'discard')).toBe(true);
    await disk.prefetch!(4096, 65536);
    expect(device.calls.at(-1)).toMatchObject({ op: 'prefetch', offset: 4096, length: 65536 });
  });
});

describe('the configuration of an NBD server', () => {
  it.each([
    [{ listen: '0.0.0.0:10809' }, 'can be reached from other machines'],
    [{ listen: 'a:b:c' }, 'an address is host:port'],
    [{ listen: '127.0.0.1:0' }, 'a port is a number from 1 to 65535'],
    [{ listen: '127.0.0.1', socket: 'x' }, 'cannot be given together with "listen"'],
    [{ mode: '888' }, 'three octal digits'],
    [{ tls: {} }, 'needs "cert" and "key", or "psk"'],
    [{ tls: { cert: 'x', key: 'y', psk: { username: 'a', key: { env: 'K' } } } }, 'or "psk" without them'],
    [{ tls: { cert: 'x' } }, 'needs "cert" and "key"'],
  ])('%j is refused', (config, message) => {
    const { error } = nbdServerConfig.safeParse(config);
    expect(error?.issues.map((issue) => issue.message).join()).toContain(message);
  });

  it.each([
    { listen: '0.0.0.0', insecure: true },
    { listen: '[::1]:1' },
    { listen: 'localhost' },
    { listen: '10.0.0.1', tls: { cert: 'x', key: 'y' } },
  ])('%j is taken', (config) => {
    expect(nbdServerConfig.safeParse(config).success).toBe(true);
  });
});
