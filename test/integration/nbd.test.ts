import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { nbdConfig } from '../../backends/nbd/config.ts';
import nbd from '../../backends/nbd/index.ts';
import type { BlockDevice } from '../../core/api/device.ts';
import { adaptDevice } from '../../core/block/layers.ts';
import { resolve } from '../../core/block/resolve.ts';
import { seededRandom } from '../../core/util/random.ts';
import { ensureDebianPackages } from '../../core/vm/debian-packages.ts';
import { eventually } from '../core/app/rig.ts';
import { makeCertificates, makePsk, NbdServerProcess } from '../support/nbd-servers.ts';
import { openContext } from '../support/plugin-context.ts';
import { tempFolder } from '../support/temp-folder.ts';

/** The nbd backend against servers that others wrote. */

const MIB = 2 ** 20;
const SIZE = 16 * MIB;

beforeAll(async () => {
  await ensureDebianPackages(['nbdkit', 'qemu-utils', 'nbd-server', 'openssl'], (line) =>
    process.stderr.write(`${line}\n`),
  );
});

let folder: ReturnType<typeof tempFolder>;
let owned: AsyncDisposableStack;

beforeEach(() => {
  folder = tempFolder();
  owned = new AsyncDisposableStack();
  owned.defer(() => folder[Symbol.dispose]());
});

afterEach(() => owned.disposeAsync());

async function serve(...command: string[]): Promise<NbdServerProcess> {
  return owned.use(await NbdServerProcess.start(command, folder.file('socket')));
}

const nbdkit = (...args: string[]) =>
  serve('nbdkit', '--foreground', '--unix', folder.file('socket'), '--exit-with-parent', ...args);

const qemuNbd = (...args: string[]) => {
  const listening = ['--persistent', '--socket', folder.file('socket')];
  return serve('qemu-nbd', ...listening, '--format', 'raw', ...args, folder.file('image'));
};

/** It goes into the background by itself: in a namespace of its own, it ends with whoever started it. */
const nbdServer = () => {
  const script = `nbd-server -C ${folder.file('nbd.conf')}; exec sleep infinity`;
  return serve('unshare', '--pid', '--fork', '--kill-child', 'sh', '-c', script);
};

const uri = (name = '', scheme = 'nbd+unix') => `${scheme}:///${name}?socket=${folder.file('socket')}`;

async function open(
  config: object = {},
): Promise<BlockDevice & { readonly log: ReturnType<typeof openContext>['logger'] }> {
  const ctx = openContext(folder.path);
  const device = owned.use(await nbd.open(nbdConfig.parse({ uri: uri(), ...config }), ctx));
  return Object.assign(device, { log: ctx.logger });
}

/** Of no pattern that a misplaced block would keep. */
function content(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; at += 4) bytes.writeUInt32LE(Math.imul(at, 2654435761) >>> 0, at);
  return bytes;
}

const seedOf = (): number => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  process.stderr.write(`seed ${seed}\n`);
  return seed;
};

/** Requests of all kinds, several at a time where they do not meet, against an array that says what has to come back. */
async function exercise(
  device: BlockDevice,
  rounds: number,
  model: Buffer = Buffer.alloc(device.info.size),
): Promise<Buffer> {
  const random = seededRandom(seedOf());
  const block = device.info.limits?.blockSize ?? 512;
  const below = (n: number) => Math.floor(random() * n);
  const lanes = 8;
  const lane = model.length / lanes;
  for (let round = 0; round < rounds; round++) {
    await Promise.all(
      Array.from({ length: lanes }, async (_, index) => {
        const wanted = block * (1 + below(random() < 0.2 ? 600 : 16));
        const length = Math.min(wanted, device.info.limits?.maxIo ?? wanted);
        const offset = index * lane + block * below((lane - length) / block);
        const part = model.subarray(offset, offset + length);
        const kind = random();
        if (kind < 0.4) {
          const data = Buffer.from(Array.from({ length }, () => below(256)));
          await device.write!(offset, [data.subarray(0, block / 2), data.subarray(block / 2)], 0);
          data.copy(part);
        } else if (kind < 0.5 && device.writeZeroes !== undefined) {
          await device.writeZeroes(offset, length, random() < 0.5 ? 2 : 0);
          part.fill(0);
        } else if (kind < 0.55 && device.flush !== undefined) await device.flush(0);
        else if (kind < 0.65 && device.prefetch !== undefined) await device.prefetch(offset, length);
        else {
          const into = Buffer.alloc(length, 0xa5);
          await device.read(offset, [into.subarray(0, 100), into.subarray(100)], 0);
          expect(into.equals(part)).toBe(true);
        }
      }),
    );
  }
  return model;
}

async function expectContent(device: BlockDevice, model: Buffer): Promise<void> {
  const into = Buffer.alloc(model.length);
  for (let at = 0; at < model.length; at += MIB) await device.read(at, [into.subarray(at, at + MIB)], 0);
  expect(into.equals(model)).toBe(true);
}

describe('an export of', () => {
  it.each([
    ['nbdkit memory', () => nbdkit('memory', `${SIZE}`)],
    [
      'nbdkit with blocks of 4096',
      () =>
        nbdkit(
          '--filter=blocksize-policy',
          'memory',
          `${SIZE}`,
          'blocksize-minimum=4096',
          'blocksize-preferred=65536',
          'blocksize-maximum=1M',
          'blocksize-error-policy=error',
        ),
    ],
    ['nbdkit that is slow', () => nbdkit('--filter=delay', 'memory', `${SIZE}`, 'rdelay=3ms', 'wdelay=2ms')],
    ['qemu-nbd', () => qemuNbd('--discard', 'unmap')],
    ['nbd-server', () => nbdServer()],
  ])('%s takes everything, and keeps it', { timeout: 60_000 }, async (name, start) => {
    writeFileSync(folder.file('image'), '');
    truncateSync(folder.file('image'), SIZE);
    writeFileSync(
      folder.file('nbd.conf'),
      `[generic]\nunixsock = ${folder.file('socket')}\n[disk]\nexportname = ${folder.file('image')}\nflush = true\nfua = true\ntrim = true\n`,
    );
    await start();
    const config = { uri: uri(name === 'nbd-server' ? 'disk' : '') };
    expect(await nbd.check!(nbdConfig.parse(config), openContext(folder.path))).toMatchObject([
      { severity: 'ok', summary: expect.stringContaining('16 MiB') },
    ]);
    const device = await open(config);
    expect(device.info.size).toBe(SIZE);
    const model = await exercise(device, name.includes('slow') ? 10 : 40);
    await device.flush!(0);
    await device[Symbol.asyncDispose]();
    const again = await open(config);
    await expectContent(again, model);
    expect(again.status!()).toMatchObject({ state: 'connected', reconnections: 0, unflushed: '0 bytes' });
  });
});

describe('an export', () => {
  it('tells what is in it', async () => {
    await nbdkit('memory', `${SIZE}`);
    const device = await open();
    await device.write!(4 * MIB, [Buffer.alloc(64 * 1024, 1)], 0);
    const extents = await device.extents!(0, SIZE);
    expect(extents.reduce((sum, { length }) => sum + length, 0)).toBe(SIZE);
    expect(extents[0]).toMatchObject({ offset: 0, kind: 'hole' });
    expect(extents.filter(({ kind }) => kind === 'data')).toEqual([
      { offset: 4 * MIB, length: 64 * 1024, kind: 'data' },
    ]);
  });

  it('whose server reports errors passes them on, and goes on', async () => {
    await nbdkit(
      '--filter=error',
      'memory',
      `${SIZE}`,
      `error-file=${folder.file('on')}`,
      'error=ENOSPC',
      'error-pwrite-rate=100%',
      'error-pread-rate=0%',
    );
    const device = await open();
    await device.write!(0, [Buffer.alloc(4096, 1)], 0);
    writeFileSync(folder.file('on'), '');
    await expect(device.write!(0, [Buffer.alloc(4096, 2)], 0)).rejects.toMatchObject({ code: 'ENOSPC' });
    const into = Buffer.alloc(4096);
    await device.read(0, [into], 0);
    expect(into).toEqual(Buffer.alloc(4096, 1));
  });

  it('is fetched ahead where its server can do that', async () => {
    writeFileSync(folder.file('image'), content(SIZE));
    const blocks = ['blocksize-minimum=512', 'blocksize-preferred=4096', 'blocksize-maximum=1M'];
    await nbdkit(
      ...['--filter=log', '--filter=blocksize-policy', '--filter=cache', 'file', folder.file('image')],
      ...[`logfile=${folder.file('log')}`, ...blocks, 'blocksize-error-policy=error'],
    );
    const device = await open();
    const { device: disk } = adaptDevice(resolve(device, 'nbd'));
    expect(disk.caps.prefetch).toBe(true);
    await disk.prefetch(4096, 2 * MIB);
    const into = Buffer.alloc(MIB);
    await disk.read(MIB, [into], 0);
    expect(into.equals(content(SIZE).subarray(MIB, 2 * MIB))).toBe(true);
    const cached = readFileSync(folder.file('log'), 'utf8').matchAll(
      / Cache id=\d+ offset=(\w+) count=(\w+)/g,
    );
    expect([...cached].map(([, offset, count]) => [Number(offset), Number(count)])).toEqual([
      [4096, MIB],
      [4096 + MIB, MIB],
    ]);
    expect(device.status!()).toMatchObject({ reconnections: 0, unflushed: '0 bytes' });
  });

  it.each([
    [
      'nbdkit that does not cache',
      () => nbdkit('--filter=nocache', 'memory', `${SIZE}`, 'cachemode=none'),
      false,
    ],
    [
      'nbdkit that reads in place of caching',
      () => nbdkit('--filter=nocache', 'memory', `${SIZE}`, 'cachemode=emulate'),
      true,
    ],
    ['qemu-nbd', () => qemuNbd(), true],
  ])('of %s says whether it can fetch ahead', async (_name, start, can) => {
    writeFileSync(folder.file('image'), content(MIB));
    await start();
    const device = await open();
    expect(device.prefetch !== undefined).toBe(can);
    await device.prefetch?.(512, MIB - 512);
    expect(device.status!()).toMatchObject({ reconnections: 0 });
  });

  it('whose server fails to fetch ahead tells so, and reads all the same', async () => {
    const only = ['error-pread-rate=0%', 'error-pwrite-rate=0%', 'error-extents-rate=0%'];
    await nbdkit('--filter=error', 'memory', `${SIZE}`, 'error=EIO', 'error-rate=100%', ...only);
    const device = await open();
    await expect(device.prefetch!(0, 4096)).rejects.toMatchObject({ code: 'EIO' });
    await device.write!(0, [Buffer.alloc(512, 7)], 0);
    const into = Buffer.alloc(512);
    await device.read(0, [into], 0);
    expect(into).toEqual(Buffer.alloc(512, 7));
  });

  it('that is read-only is a read-only disk', async () => {
    await nbdkit('-r', 'memory', `${SIZE}`);
    const device = await open();
    expect(device.write).toBeUndefined();
    expect(device.info.caps?.readOnly).toBe(true);
  });

  it('that is not there is answered with those that are', async () => {
    writeFileSync(folder.file('image'), Buffer.alloc(MIB));
    await qemuNbd('--export-name', 'here');
    await expect(open({ uri: uri('there') })).rejects.toMatchObject({
      code: 'nbd.unknown-export',
      why: 'It has: "here".',
    });
  });

  it('grows when its server says so', async () => {
    writeFileSync(folder.file('image'), Buffer.alloc(MIB));
    await nbdkit('file', folder.file('image'));
    const device = await open();
    truncateSync(folder.file('image'), 2 * MIB);
    await device.resize!();
    expect(device.info.size).toBe(2 * MIB);
  });
});

describe('TLS', () => {
  it('with certificates', { timeout: 60_000 }, async () => {
    const pki = folder.file('pki');
    await makeCertificates(pki);
    await nbdkit('--tls=require', `--tls-certificates=${pki}`, '--tls-verify-peer', 'memory', `${SIZE}`);
    const [ca, cert, key] = ['ca-cert', 'client-cert', 'client-key'].map((name) => `pki/${name}.pem`);
    const secure = uri('', 'nbds+unix');
    const device = await open({ uri: secure, tls: { ca, cert, key, hostname: 'localhost' } });
    await exercise(device, 20);
    const wrong = { ca, cert, key, hostname: 'elsewhere' };
    await expect(open({ uri: secure, tls: wrong })).rejects.toMatchObject({
      code: 'nbd.refused',
      why: /TLS: .*elsewhere/,
    });
    await expect(open({ uri: secure, tls: { cert, key, hostname: 'localhost' } })).rejects.toMatchObject({
      code: 'nbd.refused',
    });
    await expect(open()).rejects.toMatchObject({ code: 'nbd.refused', why: expect.stringContaining('nbds') });
  });

  it('with a key that both sides know', async () => {
    await makePsk(folder.file('keys.psk'), 'disk0', '00112233445566778899aabbccddeeff');
    writeFileSync(folder.file('secret'), '00112233445566778899aabbccddeeff\n');
    await nbdkit('--tls=require', `--tls-psk=${folder.file('keys.psk')}`, 'memory', `${SIZE}`);
    const psk = { username: 'disk0', key: { file: 'secret' } };
    await exercise(await open({ uri: uri('', 'nbds+unix'), tls: { psk } }), 20);
    writeFileSync(folder.file('secret'), 'ff112233445566778899aabbccddeeff\n');
    await expect(open({ uri: uri('', 'nbds+unix'), tls: { psk } })).rejects.toMatchObject({
      code: 'nbd.refused',
    });
    writeFileSync(folder.file('secret'), 'no key\n');
    await expect(open({ uri: uri('', 'nbds+unix'), tls: { psk } })).rejects.toMatchObject({
      code: 'nbd.tls-psk',
    });
  });
});

describe('a server that is killed', () => {
  it('and comes back is gone on with, without an error and with every byte', {
    timeout: 60_000,
  }, async () => {
    writeFileSync(folder.file('image'), '');
    truncateSync(folder.file('image'), SIZE);
    const server = await nbdkit('file', folder.file('image'));
    const device = await open();
    let over = false;
    const killing = (async () => {
      for (let i = 0; i < 4; i++) {
        await new Promise((resolve) => setTimeout(resolve, 150));
        await server.kill9();
        await server.start();
      }
      over = true;
    })();
    let model: Buffer = Buffer.alloc(SIZE);
    while (!over) model = await exercise(device, 5, model);
    await killing;
    await expectContent(device, model);
    expect(device.status!()['reconnections']).toBeGreaterThan(0);
  });

  it('has what it forgot sent again: writes that it answered and had not flushed', async () => {
    const server = await nbdkit('memory', `${SIZE}`);
    const device = await open();
    await device.write!(0, [Buffer.alloc(8192, 1)], 0);
    await device.write!(4096, [Buffer.alloc(8192, 2)], 0);
    await device.writeZeroes!(8192, 512, 0);
    await server.kill9();
    const waiting = device.write!(65536, [Buffer.alloc(512, 3)], 0);
    await server.start();
    await waiting;
    const model = Buffer.alloc(SIZE);
    model.fill(1, 0, 4096).fill(2, 4096, 12288).fill(0, 8192, 8704).fill(3, 65536, 66048);
    await expectContent(device, model);
  });

  it('and replaced by another export gets nothing', async () => {
    const server = await nbdkit('memory', `${SIZE}`);
    const device = await open();
    await device.write!(0, [Buffer.alloc(512, 1)], 0);
    await server.kill9();
    await nbdkit('memory', `${SIZE / 2}`);
    await expect(device.read(0, [Buffer.alloc(512)], 0)).rejects.toMatchObject({ code: 'EIO' });
    expect(device.status!()).toMatchObject({ state: 'failed' });
  });

  it('and does not come back fails requests when it is time to give up, and serves them when it is back', async () => {
    const server = await nbdkit('memory', `${SIZE}`);
    const device = await open({ giveUpAfter: 0.2 });
    await device.write!(0, [Buffer.alloc(512, 1)], 0);
    await server.kill9();
    await expect(device.read(0, [Buffer.alloc(512)], 0)).rejects.toMatchObject({ code: 'EIO' });
    await expect(device.read(0, [Buffer.alloc(512)], 0)).rejects.toMatchObject({ code: 'EIO' });
    await server.start();
    await eventually(async () => device.status!()['state'] === 'connected');
    const into = Buffer.alloc(512);
    await device.read(0, [into], 0);
    expect(into).toEqual(Buffer.alloc(512, 1));
  });
});
