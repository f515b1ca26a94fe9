import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { takeInventory } from '../../../../core/app/demo/bucket-inventory.ts';
import { DemoFolder } from '../../../../core/app/demo/demo-folder.ts';
import { LocalPlayground } from '../../../../core/app/demo/local-playground.ts';
import { S3Process } from '../../../../core/app/demo/s3-process.ts';
import { makeSamples } from '../../../../core/app/demo/sample-files.ts';
import { ScriptReport } from '../../../../core/app/demo/script-report.ts';
import { loadConfig } from '../../../../core/config/load.ts';
import { PluginRegistry } from '../../../../core/plugins/registry.ts';

let path: string;
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), 'blockgate-demo-'));
});
afterEach(() => rm(path, { recursive: true }));

describe('the folder of the demo', () => {
  it('is refused when something else is in it', async () => {
    await writeFile(join(path, 'thesis.tex'), 'do not delete');
    await expect(DemoFolder.prepare(path)).rejects.toMatchObject({ code: 'demo.folder-taken' });
    expect(await readdir(path)).toEqual(['thesis.tex']);
  });

  it('is emptied of an earlier demo', async () => {
    const first = await DemoFolder.prepare(path);
    await first.s3.ensureBuckets(['demo']);
    await writeFile(join(first.work, 'sample'), '');
    const second = await DemoFolder.prepare(path);
    expect(await readdir(second.work)).toEqual([]);
    await expect(stat(second.s3.store)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('has a configuration that is valid and names its secrets by file', async () => {
    const folder = await DemoFolder.prepare(path);
    await folder.writeConfig('http://127.0.0.1:9000');
    const { secretAccessKey } = await folder.s3.keys();
    const config = await loadConfig(folder.configFile);
    await PluginRegistry.builtIn().prepareDisk(config.disks.get('demo')!);
    expect(await readFile(folder.configFile, 'utf8')).not.toContain(secretAccessKey);
    expect((await stat(folder.s3.secretKeyFile)).mode & 0o777).toBe(0o600);
  });
});

describe('the samples of the demo', () => {
  it('are as many bytes as they say', async () => {
    const { files, bytes } = await makeSamples(join(path, 'samples'));
    const found = (await readdir(join(path, 'samples'), { recursive: true })).filter((name) =>
      name.endsWith('.bin'),
    );
    const sizes = await Promise.all(
      found.map(async (name) => (await stat(join(path, 'samples', name))).size),
    );
    expect({ files, bytes }).toEqual({ files: found.length, bytes: sizes.reduce((a, b) => a + b) });
  });
});

describe('what a script of the demo prints', () => {
  it('moves the progress and leaves facts', () => {
    const seen: unknown[] = [];
    const listener = {
      update: (...all: number[]) => seen.push(all),
      relabel: (label: string) => seen.push(label),
    };
    const report = new ScriptReport(listener);
    const lines = [
      '@device /dev/vda',
      'noise',
      '@phase writing',
      '@progress 5 10',
      '@nanoseconds 1500000000',
    ];
    for (const line of lines) report.take(line);
    expect(seen).toEqual(['writing', [5, 10]]);
    expect(report.device).toBe('/dev/vda');
    expect(report.seconds).toBe(1.5);
  });
});

describe('the S3 server of the demo', () => {
  it('comes back on the same port with the same bucket, and can be looked into once it is stopped', async () => {
    const folder = await DemoFolder.prepare(path);
    await folder.s3.ensureBuckets(['demo']);
    const options = { dataDir: folder.s3.store, credentials: await folder.s3.keys() };
    const first = await S3Process.start(options);
    await first[Symbol.asyncDispose]();
    const second = await S3Process.start({ ...options, port: first.port });
    expect(second.endpoint).toBe(first.endpoint);
    expect((await fetch(`${second.endpoint}/demo`)).status).toBe(403);
    await second[Symbol.asyncDispose]();
    expect(await takeInventory(folder.s3.store, 'demo')).toEqual([]);
  });

  it('says why it cannot start', async () => {
    await writeFile(join(path, 'file'), '');
    const credentials = { accessKeyId: 'a', secretAccessKey: 'b' };
    await expect(S3Process.start({ dataDir: join(path, 'file'), credentials })).rejects.toThrow(path);
  });
});

describe('a command of the demo on this machine', () => {
  it('is heard line by line and ends with its status', async () => {
    const lines: string[] = [];
    const here = new LocalPlayground(path, new AbortController().signal);
    const status = await here.run(['sh', '-c', 'echo $WORD; echo two >&2; exit 3'], {
      env: { WORD: 'one' },
      onLine: (line) => lines.push(line),
    });
    expect(status).toBe(3);
    expect(lines.sort()).toEqual(['one', 'two']);
  });

  it('is asked to end when the demo is interrupted, and waited for', async () => {
    const interrupt = new AbortController();
    const here = new LocalPlayground(path, interrupt.signal);
    const lines: string[] = [];
    const script = 'trap "echo cleaned; exit 0" TERM; echo started; while :; do sleep 0.01; done';
    const run = here.run(['bash', '-c', script], {
      env: {},
      onLine: (line) => {
        lines.push(line);
        if (line === 'started') interrupt.abort(new Error('enough'));
      },
    });
    await expect(run).rejects.toThrow('enough');
    expect(lines).toEqual(['started', 'cleaned']);
  });
});
