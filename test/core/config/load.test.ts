import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { inspectConfig, loadConfig, parseBackendArgument } from '../../../core/config/load.ts';
import { renderError } from '../../../core/util/render-error.ts';

const dir = mkdtempSync(join(tmpdir(), 'blockgate-load-'));
afterAll(() => rmSync(dir, { recursive: true }));

async function write(name: string, text: string): Promise<string> {
  const file = join(dir, name);
  await writeFile(file, text);
  return file;
}

async function problemsOf(file: string): Promise<string> {
  const { problems } = await inspectConfig(file);
  return problems.map(renderError).join('\n\n').replaceAll(dir, '<dir>');
}

describe('loadConfig', () => {
  it('reads comments, trailing commas and a byte order mark', async () => {
    const file = await write(
      'jsonc.json',
      '\uFEFF{ // a comment\n "version": 1, /* another */ "disks": { "a": { "backend": { "type": "memory", }, }, }, }',
    );
    expect([...(await loadConfig(file)).disks.keys()]).toEqual(['a']);
  });

  it('fills in the defaults', async () => {
    const file = await write(
      'defaults.json',
      '{ "version": 1, "disks": { "a": { "backend": { "type": "memory" } } } }',
    );
    const config = await loadConfig(file);
    expect(config).toMatchObject({ file, baseDir: dir, version: 1, plugins: [] });
    expect(config.disks.get('a')).toMatchObject({
      name: 'a',
      frontend: { type: 'vduse', config: {} },
      filters: [],
      backend: { type: 'memory', config: {} },
      readOnly: false,
    });
  });

  it('lets a frontend be configured without naming the default one', async () => {
    const text =
      '{ "version": 1, "disks": { "a": { "backend": { "type": "memory" }, "frontend": { "queues": 2 } } } }';
    const config = await loadConfig(await write('frontend.json', text));
    expect(config.disks.get('a')!.frontend).toMatchObject({ type: 'vduse', config: { queues: 2 } });
  });

  it('makes a relative path absolute, and keeps it as given in messages', async () => {
    await write('relative.json', '{ "version": 1, "disks": {} }');
    const file = relative(process.cwd(), join(dir, 'relative.json'));
    const config = await loadConfig(file);
    expect(config.file).toBe(join(dir, 'relative.json'));
    expect(config.locate('/disks')).toEqual({ file, line: 1, column: 26, pointer: '/disks' });
  });

  it('throws every problem at once', async () => {
    const file = await write('two.json', '{ "version": 1, "disk": {}, "disks": { "A": {} } }');
    await expect(loadConfig(file)).rejects.toMatchObject({
      name: 'ConfigErrors',
      errors: [{ code: 'config.unknown-key' }, { code: 'config.invalid' }],
    });
  });

  it('keeps the disks that can be understood beside those that cannot', async () => {
    const text = '{ "version": 1, "disks": { "good": { "backend": { "type": "memory" } }, "bad": {} } }';
    const { config, problems } = await inspectConfig(await write('some.json', text));
    expect([...config!.disks.keys()]).toEqual(['good']);
    expect(problems).toHaveLength(1);
  });

  it('reads a key called __proto__ as a key', async () => {
    const file = await write('proto.json', '{ "version": 1, "disks": {}, "__proto__": { "polluted": 1 } }');
    expect(await problemsOf(file)).toContain('Unknown key "__proto__"');
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it('reports nesting that no parser survives', async () => {
    expect(await problemsOf(await write('deep.json', '['.repeat(200_000)))).toMatchInlineSnapshot(`
      "✖ <dir>/deep.json cannot be parsed.
        Where  <dir>/deep.json
        Why    Objects and arrays are nested too deeply to be read.
        Code   config.syntax
        Cause  Maximum call stack size exceeded"
    `);
  });

  it('reports a file that does not exist', async () => {
    expect(await problemsOf(join(dir, 'absent.json'))).toMatchInlineSnapshot(`
      "✖ There is no configuration file <dir>/absent.json.
        Where  <dir>/absent.json
        Fix    Create it, or name another with -c FILE.
        Code   config.not-found
        Cause  ENOENT: no such file or directory, open '<dir>/absent.json'"
    `);
  });

  it('reports a folder', async () => {
    expect(await problemsOf(dir)).toMatchInlineSnapshot(`
      "✖ <dir> cannot be read.
        Where  <dir>
        Why    EISDIR: illegal operation on a directory, read.
        Fix    Name the file, not its folder.
        Code   config.unreadable"
    `);
  });
});

describe('inspectConfig', () => {
  const good = JSON.stringify({
    version: 1,
    plugins: ['./p.ts'],
    disks: { a: { backend: { type: 'memory', size: 512 }, filters: [{ type: 'delay' }], readOnly: true } },
  });
  const text = fc.oneof(
    fc.json(),
    fc.string(),
    // A good file with a part of it replaced: most of these are still JSON, or nearly.
    fc
      .tuple(
        fc.nat(good.length),
        fc.nat(20),
        fc.constantFrom('', '{}', '[]', 'null', '5', '"x"', '}', ',', '"__proto__":1'),
      )
      .map(([at, length, by]) => good.slice(0, at) + by + good.slice(at + length)),
  );

  it('never throws, and has problems or a configuration, whatever the file holds', async () => {
    const file = join(dir, 'any.json');
    await fc.assert(
      fc.asyncProperty(text, async (content) => {
        await writeFile(file, content);
        const { config, problems } = await inspectConfig(file);
        expect(problems.length > 0 || config !== undefined).toBe(true);
        for (const { code, where } of problems)
          expect([code, where?.file]).toEqual([expect.stringMatching(/^config\./), file]);
      }),
      { numRuns: 300 },
    );
  });
});

describe('parseBackendArgument', () => {
  it('reads a backend', () => {
    expect(parseBackendArgument('{"type":"memory","size":"1MiB"}')).toMatchObject({
      type: 'memory',
      config: { size: '1MiB' },
      pointer: '',
    });
  });

  it.each([
    ['not JSON', 'memory', 'config.syntax'],
    ['not an object', '5', 'config.invalid'],
    ['without a type', '{}', 'config.invalid'],
    ['with a secret', '{"type":"s3","password":"hunter2"}', 'config.literal-secret'],
  ])('refuses what is %s', (_, json, code) => {
    expect(() => parseBackendArgument(json)).toThrow(
      expect.objectContaining({ name: 'ConfigErrors', errors: [expect.objectContaining({ code })] }),
    );
  });
});
