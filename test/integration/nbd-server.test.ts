import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fileConfig } from '../../backends/file/config.ts';
import file from '../../backends/file/index.ts';
import { nbdConfig } from '../../backends/nbd/config.ts';
import nbdBackend from '../../backends/nbd/index.ts';
import { ensureDebianPackages } from '../../core/vm/debian-packages.ts';
import { freePort } from '../support/free-port.ts';
import { makeCertificates, makePsk, NbdServerProcess } from '../support/nbd-servers.ts';
import { openContext } from '../support/plugin-context.ts';
import { type ServedExport, serveDevice } from '../support/served-export.ts';
import { tempFolder } from '../support/temp-folder.ts';

/** The nbd frontend and the clients that everybody uses. */

const run = promisify(execFile);
const MIB = 2 ** 20;

beforeAll(async () => {
  await ensureDebianPackages(['nbdkit', 'libnbd-bin', 'python3-libnbd', 'qemu-utils', 'openssl'], (line) =>
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

async function serve(config: object = {}, size = '64MiB', readOnly = false): Promise<ServedExport> {
  const path = folder.file('disk.img');
  const device = await file.open(fileConfig.parse({ path, size }), openContext(folder.path));
  return owned.use(await serveDevice(device, folder.path, config, readOnly));
}

const tool = async (name: string, ...args: string[]): Promise<string> => (await run(name, args)).stdout;

/** Deterministic, and of no pattern that a misplaced block would keep. */
function content(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; at += 4) bytes.writeUInt32LE(Math.imul(at, 2654435761) >>> 0, at);
  return bytes;
}

describe('an export of ours', () => {
  it('tells nbdinfo what it is, and which parts of it are there', async () => {
    const { handle, volume } = await serve();
    await volume.write(8 * MIB, [content(MIB)], 0);
    const info = JSON.parse(await tool('nbdinfo', '--json', handle.path));
    expect(info.protocol).toBe('newstyle-fixed');
    expect(info.exports[0]).toMatchObject({
      'export-name': 'disk0',
      description: 'blockgate disk disk0',
      'export-size': 64 * MIB,
      is_read_only: false,
      can_multi_conn: true,
      can_flush: true,
      can_fua: true,
      can_trim: true,
      can_zero: true,
      can_df: true,
      can_fast_zero: true,
      can_cache: false,
      block_size_minimum: 512,
      block_size_preferred: 4096,
      block_size_maximum: 32 * MIB,
      contexts: ['base:allocation'],
    });
    const list = await tool('nbdinfo', '--list', '--json', handle.path);
    expect(JSON.parse(list).exports.map((one: object) => Object.values(one)[0])).toEqual(['disk0']);
    const map = JSON.parse(await tool('nbdinfo', '--map', '--json', handle.path));
    expect(map).toMatchObject([
      { offset: 0, length: 8 * MIB, type: 3 },
      { offset: 8 * MIB, length: MIB, type: 0 },
      { offset: 9 * MIB, length: 55 * MIB, type: 3 },
    ]);
  });

  it('takes and gives everything with nbdcopy, over several connections', async () => {
    const { handle } = await serve();
    const data = content(48 * MIB);
    writeFileSync(folder.file('from'), Buffer.concat([data, Buffer.alloc(16 * MIB)]));
    await tool('nbdcopy', '--connections=4', '--flush', folder.file('from'), handle.path);
    expect(readFileSync(folder.file('disk.img')).equals(readFileSync(folder.file('from')))).toBe(true);
    await tool('nbdcopy', '--connections=4', handle.path, folder.file('to'));
    expect(readFileSync(folder.file('to')).equals(readFileSync(folder.file('from')))).toBe(true);
  });

  it('is an image for qemu-img and qemu-io', async () => {
    const { handle } = await serve();
    writeFileSync(folder.file('from'), Buffer.concat([content(10 * MIB), Buffer.alloc(54 * MIB)]));
    await tool('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', folder.file('from'), handle.path);
    await tool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', folder.file('from'), handle.path);
    await tool('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', handle.path, folder.file('to'));
    await tool('qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', folder.file('to'), handle.path);
    const said = await tool(
      ...(['qemu-io', '-f', 'raw'] as const),
      ...[
        '-c',
        'write -P 0x11 0 1M',
        '-c',
        'write -f -P 0x22 1M 1M',
        '-c',
        'write -z -u 2M 1M',
        '-c',
        'flush',
      ],
      ...[
        '-c',
        'discard 3M 1M',
        '-c',
        'read -P 0x11 0 1M',
        '-c',
        'read -P 0x22 1M 1M',
        '-c',
        'read -P 0 2M 1M',
      ],
      ...['-c', 'aio_write -P 0x33 4M 2M', '-c', 'aio_write -P 0x44 8M 2M', '-c', 'aio_flush'],
      ...['-c', 'read -P 0x33 4M 2M', '-c', 'read -P 0x44 8M 2M', handle.path],
    );
    expect(said).not.toMatch(/fail|error/i);
  });

  it('of 8 TiB is trimmed and zeroed from end to end in no time', async () => {
    const { handle } = await serve({}, '8TiB');
    const script = `
      size = h.get_size()
      step = 2**32 - 4096
      at = 0
      while at < 2 * 2**40:
        h.trim(min(step, size - at), at)
        at += step
      h.zero(step, 2**40)
      assert h.pread(4096, 2**40) == bytearray(4096)`;
    await nbdsh(handle.path, script);
  });

  it('is read-only when the disk is', async () => {
    const { handle } = await serve({}, '64MiB', true);
    const info = JSON.parse(await tool('nbdinfo', '--json', handle.path));
    expect(info.exports[0]).toMatchObject({ is_read_only: true, can_trim: false, can_zero: false });
  });

  it('fetches ahead what is behind it: from libnbd, through us, to another server', async () => {
    const [path, log] = [folder.file('behind'), folder.file('log')];
    owned.use(
      await NbdServerProcess.start(
        [
          'nbdkit',
          '--foreground',
          '--exit-with-parent',
          '--unix',
          path,
          '--filter=log',
          'memory',
          '64M',
          `logfile=${log}`,
        ],
        path,
      ),
    );
    const config = nbdConfig.parse({ uri: `nbd+unix:///?socket=${path}` });
    const device = await nbdBackend.open(config, openContext(folder.path));
    const { handle } = owned.use(await serveDevice(device, folder.path));
    await tool('nbdinfo', '--can', 'cache', handle.path);
    const script = `
      import errno
      h.cache(2**20, 8192)
      for count, offset in [(4096, h.get_size()), (100, 0), (0, 0), (4096, 2**63 - 4096), (33 * 2**20, 0)]:
        try:
          h.cache(count, offset)
        except nbd.Error as e:
          assert e.errnum == errno.EINVAL, e
        else:
          raise Exception("it did not fail")
      h.pwrite(bytearray([7]) * 512, 0)
      assert h.pread(512, 0) == bytearray([7]) * 512`;
    await nbdsh(handle.path, script, '-c', 'h.set_strict_mode(0)');
    const cached = readFileSync(log, 'utf8').match(/ Cache id=\d+ offset=0x2000 count=0x100000 /g);
    expect(cached).toHaveLength(1);
    expect(readFileSync(log, 'utf8').match(/ Cache /g)).toHaveLength(1);
  });

  it('is there over TCP', async () => {
    const port = await freePort();
    const { handle } = await serve({ listen: `127.0.0.1:${port}`, exportName: 'a disk/with ü' });
    expect(handle.path).toBe(`nbd://127.0.0.1:${port}/a%20disk%2Fwith%20%C3%BC`);
    expect(await tool('nbdinfo', '--size', handle.path)).toBe(`${64 * MIB}\n`);
    expect(await tool('nbdinfo', '--size', `nbd://127.0.0.1:${port}`)).toBe(`${64 * MIB}\n`);
    await expect(tool('nbdinfo', '--size', `nbd://127.0.0.1:${port}/other`)).rejects.toMatchObject({
      stderr: expect.stringContaining("server has no export named 'other'"),
    });
  });
});

/** Python with a libnbd handle `h` on the export. */
async function nbdsh(uri: string, script: string, ...before: string[]): Promise<string> {
  const source = script.replace(/^ {6}/gm, '').trim();
  return await tool('/usr/bin/python3', '-m', 'nbd', ...before, '-u', uri, '-c', source);
}

describe('TLS', () => {
  it('lets in clients with a certificate of the authority, and nobody else', async () => {
    await makeCertificates(folder.file('pki'));
    const pki = (name: string) => folder.file(`pki/${name}.pem`);
    const port = await freePort();
    const tls = { cert: pki('server-cert'), key: pki('server-key'), ca: pki('ca-cert') };
    const { handle } = await serve({ listen: `localhost:${port}`, tls });
    expect(handle.path).toBe(`nbds://localhost:${port}/disk0`);
    const withPki = `${handle.path}?tls-certificates=${folder.file('pki')}`;
    expect(await tool('nbdinfo', '--size', withPki)).toBe(`${64 * MIB}\n`);
    await tool('nbdcopy', withPki, folder.file('to'));
    await expect(tool('nbdinfo', '--size', handle.path.replace('nbds', 'nbd'))).rejects.toThrow();
    const ca = `import nbd
h = nbd.NBD()
h.set_tls(nbd.TLS_REQUIRE)
h.set_tls_certificates(${JSON.stringify(folder.file('empty'))})
h.set_tls_verify_peer(False)
h.connect_tcp("localhost", "${port}")`;
    await expect(tool('/usr/bin/python3', '-c', ca)).rejects.toThrow();
  });

  it('lets in whoever knows the key', async () => {
    const key = 'aa'.repeat(32);
    writeFileSync(folder.file('psk'), key);
    await makePsk(folder.file('keys'), 'alice', key);
    await makePsk(folder.file('wrong'), 'alice', 'bb'.repeat(32));
    const { handle } = await serve({ tls: { psk: { username: 'alice', key: { file: 'psk' } } } });
    const uri = handle.path.replace('nbds+unix://', 'nbds+unix://alice@');
    expect(await tool('nbdinfo', '--size', `${uri}&tls-psk-file=${folder.file('keys')}`)).toBe(
      `${64 * MIB}\n`,
    );
    await expect(tool('nbdinfo', '--size', `${uri}&tls-psk-file=${folder.file('wrong')}`)).rejects.toThrow();
  });
});

describe('what libnbd sends when nobody stops it', () => {
  it('is refused, request by request', async () => {
    const { handle } = await serve();
    // Strict mode off: the library checks nothing. errno values of Linux.
    const script = `
      import errno
      def fails(what, *wanted):
        try:
          what()
        except nbd.Error as e:
          assert e.errnum in wanted, (e, wanted)
          return
        raise Exception("it did not fail")
      size = h.get_size()
      fails(lambda: h.pread(4096, size), errno.EINVAL)
      fails(lambda: h.pread(4096, size - 512), errno.EINVAL)
      fails(lambda: h.pread(4096, 2**63 - 4096), errno.EINVAL)
      fails(lambda: h.pread(0, 0), errno.EINVAL)
      fails(lambda: h.pread(100, 0), errno.EINVAL)
      fails(lambda: h.pread(33 * 2**20, 0), errno.EINVAL, errno.ERANGE)
      fails(lambda: h.pwrite(bytearray(4096), size), errno.ENOSPC)
      fails(lambda: h.pwrite(bytearray(33 * 2**20), 0), errno.EINVAL)
      fails(lambda: h.pwrite(bytearray(100), 0), errno.EINVAL)
      fails(lambda: h.pwrite(bytearray(4096), 0, 1 << 9), errno.EINVAL)
      fails(lambda: h.trim(4096, size), errno.ENOSPC)
      fails(lambda: h.trim(0, 0), errno.EINVAL)
      fails(lambda: h.zero(0, 0), errno.EINVAL)
      fails(lambda: h.zero(4096, size), errno.ENOSPC)
      fails(lambda: h.cache(4096, 0), errno.EINVAL)
      fails(lambda: h.block_status(4096, size, lambda *a: 0), errno.EINVAL)
      h.pwrite(bytearray([7]) * 4096, 0, nbd.CMD_FLAG_FUA)
      assert h.pread(4096, 0) == bytearray([7]) * 4096
      h.flush()`;
    await nbdsh(
      handle.path,
      script,
      ...['-c', 'h.set_strict_mode(0)', '-c', 'h.add_meta_context("base:allocation")'],
    );
  });
});
