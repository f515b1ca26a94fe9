import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureDebianPackages } from '../../core/vm/debian-packages.ts';
import { tempFolder } from '../support/temp-folder.ts';

/** blockgate as others get it from npm: packed, installed into an empty project, and used to write a plugin. */

const ROOT = join(import.meta.dirname, '../..');
const BIN = join(ROOT, 'node_modules/.bin');
const run = promisify(execFile);

const folder = tempFolder();
let tarball: string;

async function sh(cwd: string, script: string): Promise<string> {
  const env = { ...process.env, PATH: `${BIN}:${process.env['PATH']}` };
  const { stdout, stderr } = await run('bash', ['--norc', '-euo', 'pipefail', '-c', script], {
    cwd,
    env,
    maxBuffer: 2 ** 26,
  }).catch((error: { stdout: string; stderr: string }) => {
    throw new Error(`${script}\n${error.stdout}\n${error.stderr}`);
  });
  return stdout + stderr;
}

beforeAll(async () => {
  await ensureDebianPackages(['qemu-utils'], (line) => process.stderr.write(`${line}\n`));
  // In a copy: nothing is built in the tree that is being tested.
  const copy = folder.file('copy');
  mkdirSync(copy);
  const files = (await sh(ROOT, 'git ls-files --cached --others --exclude-standard'))
    .split('\n')
    .filter(Boolean);
  for (const file of files) if (!file.startsWith('test/')) cpSync(join(ROOT, file), join(copy, file));
  await sh(copy, `ln -s ${ROOT}/node_modules node_modules; npm pack --silent`);
  tarball = join(copy, readdirSync(copy).find((name) => name.endsWith('.tgz'))!);
}, 300_000);

afterAll(() => folder[Symbol.dispose]());

describe('the package', () => {
  it('is what publint and attw expect of one', async () => {
    await sh(folder.path, `publint run ${tarball} --strict`);
    await sh(folder.path, `attw --profile esm-only ${tarball}`);
  });

  it('works in an empty project, with its types, and so does a plugin that was made with it', {
    timeout: 600_000,
  }, async () => {
    const project = folder.file('project');
    mkdirSync(project);
    await sh(
      project,
      `npm init --yes > /dev/null; npm pkg set type=module; npm install --silent ${tarball} zod`,
    );
    expect(await sh(project, 'npx blockgate --version')).toBe(
      `${JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version}\n`,
    );

    await sh(project, 'npx blockgate plugin new demo');
    const plugin = join(project, 'blockgate-backend-demo');
    const manifest = join(plugin, 'package.json');
    writeFileSync(
      manifest,
      readFileSync(manifest, 'utf8').replace(/"blockgate": "\^[^"]*"/, `"blockgate": "file:${tarball}"`),
    );
    await sh(plugin, 'npm install --silent');
    // Unchanged, it passes its own tests, and its types are right.
    const tests = await sh(plugin, 'npm test');
    expect(tests).toContain('demo conforms to L2');
    await sh(plugin, 'npm run check');
    // From its source, as its author runs it.
    expect(await sh(plugin, 'npx blockgate check')).toContain('demo');
    await expect(sh(project, 'npx blockgate plugin new demo')).rejects.toThrow('There is one already.');
    await expect(sh(project, 'npx blockgate plugin new Demo!')).rejects.toThrow('cannot be called "Demo!"');

    // As others have it: packed, and installed beside a configuration that names the package.
    await sh(plugin, 'npm pack --silent');
    const packed = readdirSync(plugin).find((name) => name.endsWith('.tgz'))!;
    await sh(project, `npm install --silent ${join(plugin, packed)}`);
    const config = {
      version: 1,
      plugins: ['blockgate-backend-demo'],
      disks: {
        disk0: {
          backend: { type: 'demo', path: 'disk0.img', size: '8MiB' },
          frontend: { type: 'nbd', socket: 'disk0.sock' },
        },
      },
    };
    writeFileSync(join(project, 'plugins.json'), JSON.stringify(config));
    expect(await sh(project, 'npx blockgate plugin list')).toContain(
      'package "blockgate-backend-demo" 0.1.0',
    );
    // Its schema came with it.
    expect(await sh(project, 'npx blockgate plugin info demo')).toContain('Size of the disk.');
    const used = await sh(
      project,
      `BLOCKGATE_STRICT=1 npx blockgate run disk0 -- qemu-io -f raw -c 'write -P 7 0 1M' -c flush -c 'read -P 7 0 1M' 'nbd+unix:///disk0?socket=disk0.sock'`,
    );
    expect(used).toContain('read 1048576/1048576 bytes');
    expect(readFileSync(join(project, 'disk0.img'))[1000]).toBe(7);
  });
});
