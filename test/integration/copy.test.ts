import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { ensureDebianPackages } from '../../core/vm/debian-packages.ts';
import { cli } from '../core/app/cli/run-cli.ts';
import { tempFolder } from '../support/temp-folder.ts';

/** Images of QEMU and exports of real NBD servers, copied into disks and out of them. */

const MIB = 2 ** 20;
const folder = tempFolder();

beforeAll(async () => {
  await ensureDebianPackages(['qemu-utils', 'nbdkit'], (line) => process.stderr.write(`${line}\n`));
});

/** Random data, zeros, random data. */
function image(): Buffer {
  const bytes = Buffer.alloc(24 * MIB);
  for (const at of [0, 20 * MIB])
    for (let i = at; i < at + 4 * MIB; i += 4) bytes.writeUInt32LE((i * 2654435761) % 2 ** 32, i);
  return bytes;
}

function configure(): string {
  const config = folder.file('plugins.json');
  const backend = { type: 'file', path: folder.file('disk.img'), size: 24 * MIB };
  writeFileSync(config, JSON.stringify({ version: 1, disks: { disk0: { backend } } }));
  return config;
}

async function run(...args: string[]): Promise<string> {
  const { status, stderr } = await cli([
    ...['volume', ...args],
    ...['--config', configure(), '--state-dir', folder.file('state')],
  ]);
  expect(status, stderr).toBe(0);
  return stderr;
}

describe('images', () => {
  it('in the format of QEMU are copied both ways', async () => {
    const bytes = image();
    writeFileSync(folder.file('raw.img'), bytes);
    execFileSync('qemu-img', ['convert', '-O', 'qcow2', folder.file('raw.img'), folder.file('in.qcow2')]);
    await run('import', 'disk0', folder.file('in.qcow2'), '--verify');
    expect(readFileSync(folder.file('disk.img')).equals(bytes)).toBe(true);
    await run('export', 'disk0', folder.file('out.qcow2'), '--verify');
    execFileSync('qemu-img', ['check', '-q', folder.file('out.qcow2')]);
    execFileSync('qemu-img', ['compare', '-q', folder.file('out.qcow2'), folder.file('raw.img')]);
    // What is zeros takes no room.
    expect(readFileSync(folder.file('out.qcow2')).length).toBeLessThan(12 * MIB);
  });

  it('on an NBD server are copied both ways', async () => {
    const bytes = image();
    writeFileSync(folder.file('served.img'), bytes);
    const socket = folder.file('nbd.sock');
    const server = spawn('nbdkit', ['-f', '-U', socket, 'file', folder.file('served.img')], {
      stdio: 'ignore',
    });
    try {
      for (let i = 0; i < 100; i++) {
        await delay(50);
        if (execFileSync('sh', ['-c', `test -S ${socket} && echo yes || true`]).length > 0) break;
      }
      const uri = `nbd+unix:///?socket=${socket}`;
      await run('import', 'disk0', uri, '--verify');
      expect(readFileSync(folder.file('disk.img')).equals(bytes)).toBe(true);
      bytes.fill(7, MIB, 2 * MIB);
      writeFileSync(folder.file('disk.img'), bytes);
      await run('export', 'disk0', uri, '--verify');
    } finally {
      const gone = once(server, 'exit');
      server.kill();
      await gone;
    }
    expect(readFileSync(folder.file('served.img')).equals(bytes)).toBe(true);
  });

  it('that nobody can open are refused with what QEMU says', async () => {
    writeFileSync(folder.file('broken.qcow2'), Buffer.from('QFI\xfb and nothing more', 'latin1'));
    const { status, stderr } = await cli([
      ...['volume', 'import', 'disk0', folder.file('broken.qcow2')],
      ...['--config', configure(), '--state-dir', folder.file('state')],
    ]);
    expect(status).toBe(1);
    expect(stderr).toContain('copy.no-qemu');
    expect(stderr).toContain('qemu-nbd');
  });
});
