import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inspectConfig, loadConfig } from '../../../core/config/load.ts';
import { renderError } from '../../../core/util/render-error.ts';

const dir = mkdtempSync(join(tmpdir(), 'blockgate-override-'));
const file = join(dir, 'plugins.json');

beforeAll(() =>
  writeFile(
    file,
    `{ "version": 1, "disks": {
      "disk0": { "backend": { "type": "memory", "size": "1MiB" }, "filters": [{ "type": "delay", "readMs": 1 }] }
    } }`,
  ),
);
afterAll(() => rmSync(dir, { recursive: true }));

async function diskWith(...overrides: string[]) {
  const config = await loadConfig(file, { overrides });
  return config.disks.get('disk0')!;
}

async function problemsWith(...overrides: string[]): Promise<string> {
  const { problems } = await inspectConfig(file, { overrides });
  return problems.map(renderError).join('\n\n');
}

describe('--set', () => {
  it('sets a key that was not given', async () => {
    expect(await diskWith('disks.disk0.readOnly=true')).toMatchObject({ readOnly: true });
  });

  it('replaces a key of a plugin', async () => {
    expect((await diskWith('disks.disk0.backend.size=2MiB')).backend.config).toEqual({ size: '2MiB' });
  });

  it('reads the value as JSON where it is JSON', async () => {
    expect((await diskWith('disks.disk0.backend.size=4096')).backend.config).toEqual({ size: 4096 });
    const { backend } = await diskWith('disks.disk0.backend.credentials={"env":"KEY"}');
    expect(backend.config).toMatchObject({ credentials: { env: 'KEY' } });
  });

  it('keeps "=" in a value', async () => {
    expect((await diskWith('disks.disk0.backend.path=a=b')).backend.config).toMatchObject({ path: 'a=b' });
  });

  it('makes objects that are not there below a disk', async () => {
    expect((await diskWith('disks.disk0.frontend.queueSize=128')).frontend).toMatchObject({
      type: 'vduse',
      config: { queueSize: 128 },
    });
  });

  it('reaches into a list', async () => {
    expect((await diskWith('disks.disk0.filters.0.readMs=7')).filters[0]!.config).toEqual({ readMs: 7 });
  });

  it('lets the last of two win', async () => {
    expect(await diskWith('disks.disk0.readOnly=true', 'disks.disk0.readOnly=false')).toMatchObject({
      readOnly: false,
    });
  });

  it('does not touch prototypes', async () => {
    await problemsWith('disks.disk0.backend.__proto__.polluted=1', '__proto__.polluted=1');
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it('locates a wrong value at the override', async () => {
    expect(await problemsWith('disks.disk0.readOnly=maybe')).toMatchInlineSnapshot(`
      "✖ Wrong value for "readOnly" in disk "disk0".
        Where  --set disks.disk0.readOnly  (/disks/disk0/readOnly)
        Why    Expected boolean, received string.
        Fix    Write true or false.
        Code   config.invalid"
    `);
  });

  it('reports a disk that does not exist', async () => {
    expect(await problemsWith('disks.dsk0.readOnly=true')).toMatchInlineSnapshot(`
      "✖ --set disks.dsk0.readOnly does not lead to a value that can be set.
        Why    There is no "dsk0" in disks.
        Fix    Did you mean "disk0"?
        Code   config.bad-override"
    `);
  });

  it('reports a key of the top level that does not exist', async () => {
    expect(await problemsWith('disk.disk0.readOnly=true')).toMatchInlineSnapshot(`
      "✖ --set disk.disk0.readOnly does not lead to a value that can be set.
        Why    There is no "disk" in the configuration.
        Fix    Did you mean "disks"?
        Code   config.bad-override"
    `);
  });

  it('reports an entry that a list does not have', async () => {
    expect(await problemsWith('disks.disk0.filters.5.readMs=1')).toMatchInlineSnapshot(`
      "✖ --set disks.disk0.filters.5.readMs does not lead to a value that can be set.
        Why    There is no "5" in disks.disk0.filters.
        Fix    Did you mean "0"?
        Code   config.bad-override"
    `);
  });

  it('reports a path through a value that is not an object', async () => {
    expect(await problemsWith('disks.disk0.backend.size.unit=GiB')).toMatchInlineSnapshot(`
      "✖ --set disks.disk0.backend.size.unit does not lead to a value that can be set.
        Why    "disks.disk0.backend.size" is not an object.
        Fix    Set "disks.disk0.backend.size" itself.
        Code   config.bad-override"
    `);
  });

  it('reports what is not path=value, without repeating what may be a secret', async () => {
    expect(await problemsWith('hunter2')).toMatchInlineSnapshot(`
      "✖ A --set is not of the form path=value.
        Why    The path is dotted, and "=" stands between it and the value.
        Fix    Write for example --set disks.disk0.readOnly=true.
        Code   config.bad-override"
    `);
  });

  it('refuses a secret, and does not repeat it', async () => {
    const text = await problemsWith('disks.disk0.backend.password=hunter2');
    expect(text).toContain('config.literal-secret');
    expect(text).not.toContain('hunter2');
  });
});
