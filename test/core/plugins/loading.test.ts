import { describe, expect, it } from 'vitest';
import type { PluginUse } from '../../../core/config/config.ts';
import { PluginWorkspace } from '../../support/plugin-workspace.ts';

/** A disk's backend of this type, as if written in plugins.json. */
function use(type: string, config: Record<string, unknown> = {}): PluginUse {
  const locate = (pointer: string) => ({ file: 'plugins.json', pointer });
  return { type, config, pointer: '/disks/disk0/backend', locate };
}

describe('a plugin that works', () => {
  it.each([
    ['an ES module', 'esm'],
    ['a CommonJS module', 'cjs'],
    ['CommonJS made from an ES module by a transpiler', 'transpiled'],
    ['a package whose exports do not list its entry', 'exports-only'],
    ['a module with a top-level await that settles', 'tla'],
    ['a module that imports blockgate/plugin without having it installed', 'uses-api'],
  ])('loads: %s', async (_, name) => {
    await using workspace = await PluginWorkspace.create([name]);
    const registry = await workspace.registry([name]);
    expect(registry.problems).toEqual([]);
    const { plugin } = await registry.prepareBackend(use(name));
    expect(plugin.name).toBe(name);
  });

  it.each([
    ['a TypeScript file', './local-file.ts', 'local-file'],
    ['a CommonJS file', './local-js.js', 'local-js'],
    ['an ES module file', './local-js.mjs', 'local-mjs'],
    ['a folder with a package.json', './esm', 'esm'],
  ])('loads from a path: %s', async (_, spec, name) => {
    await using workspace = await PluginWorkspace.create([], [spec]);
    const registry = await workspace.registry([spec]);
    const { plugin } = await registry.prepareBackend(use(name));
    expect(plugin.name).toBe(name);
  });

  it('hands the configuration to the plugin without its type', async () => {
    await using workspace = await PluginWorkspace.create(['esm']);
    const registry = await workspace.registry(['esm']);
    const { config } = await registry.prepareBackend(use('esm', { host: 'a' }));
    expect(config).toEqual({ host: 'a' });
  });
});

describe('what runs when', () => {
  it('describes packages from their manifests alone', async () => {
    await using workspace = await PluginWorkspace.create(['throws', 'with-schema']);
    const registry = await workspace.registry(['throws', 'with-schema']);
    expect(registry.problems).toEqual([]);
    const described = registry.list().find(({ name }) => name === 'with-schema');
    expect(described).toMatchObject({
      kind: 'backend',
      origin: 'package "with-schema"',
      version: '1.2.3',
      apiVersion: 1,
      description: 'Says so without running.',
    });
  });

  it('runs a bare file only when a type is not known otherwise, and once', async () => {
    await using workspace = await PluginWorkspace.create(['esm'], ['local-counts.mjs']);
    const registry = await workspace.registry(['esm', './local-counts.mjs']);
    const runs = () => (globalThis as { blockgateFixtureRuns?: number }).blockgateFixtureRuns ?? 0;
    await registry.prepareBackend(use('esm'));
    expect(registry.undescribed).toEqual(['./local-counts.mjs']);
    expect(runs()).toBe(0);
    await registry.prepareBackend(use('counts'));
    await registry.prepareBackend(use('counts'));
    expect(registry.undescribed).toEqual([]);
    expect(runs()).toBe(1);
  });
});

describe('an entry of "plugins" that cannot be used', () => {
  async function problemOf(spec: string, installed: string[] = [], local: string[] = []): Promise<string> {
    await using workspace = await PluginWorkspace.create(installed, local);
    const registry = await workspace.registry([spec]);
    expect(registry.problems).toHaveLength(1);
    // How far up Node looks depends on where temporary folders are.
    return workspace.render(registry.problems[0]).replaceAll(/\n {9}(?!<dir>)\S*node_modules/g, '');
  }

  it('reports a package that is not installed', async () => {
    expect(await problemOf('@acme/absent')).toMatchInlineSnapshot(`
      "✖ The plugin "@acme/absent" is not there.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    Looked for it in:
               <dir>/node_modules
        Fix    npm install --prefix <dir> @acme/absent
        Code   plugin.not-found"
    `);
  });

  it('reports a path that does not exist', async () => {
    expect(await problemOf('./absent.ts')).toMatchInlineSnapshot(`
      "✖ The plugin "./absent.ts" is not there.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    Looked for it in:
               <dir>/absent.ts
        Fix    Correct the path; it is relative to the configuration file.
        Code   plugin.not-found"
    `);
  });

  it('reports a package that is not a plugin', async () => {
    expect(await problemOf('no-manifest', ['no-manifest'])).toMatchInlineSnapshot(`
      "✖ The package "no-manifest" is not a blockgate plugin.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    Its package.json has no "blockgate" field: <dir>/node_modules/no-manifest/package.json
        Fix    Check the name of the package; if it is your own, add the field as the plugin guide says.
        Code   plugin.no-manifest"
    `);
  });

  it('reports a folder without a package.json', async () => {
    expect(await problemOf('./empty-folder', [], ['empty-folder'])).toMatchInlineSnapshot(`
      "✖ The folder ./empty-folder is not a plugin.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    It holds no package.json.
        Fix    Name the module itself, such as "./my-plugin.ts", or add a package.json with a "blockgate" field.
        Code   plugin.no-manifest"
    `);
  });

  it('reports a manifest that is not valid', async () => {
    expect(await problemOf('bad-manifest', ['bad-manifest'])).toMatchInlineSnapshot(`
      "✖ The manifest of package "bad-manifest" is not valid.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    In <dir>/node_modules/bad-manifest/package.json:
               "blockgate.contributes.backends.0.name": not a word of lower-case letters, digits and hyphens
               "blockgate.contributes.backends.0.entry": not a path inside the package that starts with "./"
        Fix    Correct it as the plugin guide says, or install another release of the plugin.
        Code   plugin.bad-manifest"
    `);
  });

  it('reports a package.json that is not JSON', async () => {
    expect(await problemOf('./bad-json', [], ['bad-json'])).toMatchInlineSnapshot(`
      "✖ The package.json of package "./bad-json" cannot be read.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    <dir>/bad-json/package.json: Expected double-quoted property name in JSON at position 23 (line 2 column 1)
        Fix    Install the package again.
        Code   plugin.bad-manifest"
    `);
  });

  it('reports an installed package whose package.json is not JSON', async () => {
    expect(await problemOf('bad-json', ['bad-json'])).toMatchInlineSnapshot(`
      "✖ The package.json of package "bad-json" cannot be read.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    <dir>/node_modules/bad-json/package.json: Expected double-quoted property name in JSON at position 23 (line 2 column 1)
        Fix    Install the package again.
        Code   plugin.bad-manifest"
    `);
  });

  it('reports a manifest without an API version', async () => {
    expect(await problemOf('no-api-version', ['no-api-version'])).toMatchInlineSnapshot(`
      "✖ The package "no-api-version" does not say which plugin API it was written for.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    "apiVersion" is not a whole number.
        Fix    Set "apiVersion": 2.
        Code   plugin.bad-shape"
    `);
  });

  it('reports a plugin for a newer API', async () => {
    expect(await problemOf('wrong-api-new', ['wrong-api-new'])).toMatchInlineSnapshot(`
      "✖ The package "wrong-api-new" needs a newer blockgate.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    It was written for plugin API 99; this blockgate has 2.
        Fix    Upgrade blockgate, or install an older release of the plugin.
        Code   plugin.api-too-new"
    `);
  });

  it('reports a plugin for an API that is gone', async () => {
    expect(await problemOf('wrong-api-old', ['wrong-api-old'])).toMatchInlineSnapshot(`
      "✖ The package "wrong-api-old" is too old for this blockgate.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    It was written for plugin API 0; this blockgate supports 1 to 2.
        Fix    Install a newer release of the plugin, or an older blockgate.
        Code   plugin.api-too-old"
    `);
  });

  it('reports a name that a built-in plugin has', async () => {
    expect(await problemOf('duplicate', ['duplicate'])).toMatchInlineSnapshot(`
      "✖ Two plugins provide the backend "memory".
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    One is built-in, the other package "duplicate".
        Fix    Remove one of them from "plugins".
        Code   plugin.duplicate-name"
    `);
  });

  it('reports a name that two packages have, and lets no disk choose between them', async () => {
    await using workspace = await PluginWorkspace.create(['esm', 'duplicate-of-esm']);
    const registry = await workspace.registry(['esm', 'duplicate-of-esm']);
    expect(registry.problems.map((problem) => workspace.render(problem))).toMatchInlineSnapshot(`
      [
        "✖ Two plugins provide the backend "esm".
        Where  <dir>/plugins.json:5:5  (/plugins/1)
        Why    One is package "esm", the other package "duplicate-of-esm".
        Fix    Remove one of them from "plugins".
        Code   plugin.duplicate-name",
      ]
    `);
    await expect(registry.prepareBackend(use('esm'))).rejects.toMatchObject({ errors: registry.problems });
  });
});

describe('a plugin that fails when a disk uses it', () => {
  async function failureOf(name: string, timeoutMs?: number): Promise<string> {
    await using workspace = await PluginWorkspace.create([name]);
    const registry = await workspace.registry([name], timeoutMs);
    expect(registry.problems).toEqual([]);
    const error: unknown = await registry.prepareBackend(use(name)).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    return workspace.render(error);
  }

  async function localFailureOf(file: string): Promise<string> {
    await using workspace = await PluginWorkspace.create([], [file]);
    const registry = await workspace.registry([`./${file}`]);
    await registry.describeLocalFiles();
    return registry.problems.map((problem) => workspace.render(problem)).join('\n\n');
  }

  it('reports a syntax error', async () => {
    expect(await failureOf('broken')).toMatchInlineSnapshot(`
      "✖ The backend "broken" of package "broken" cannot be loaded.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    Its module failed while it was imported: Unexpected token '{'
        Fix    Install another release of the plugin, or tell its author.
        Code   plugin.import-failed"
    `);
  });

  it('reports a module that throws', async () => {
    expect(await failureOf('throws')).toMatchInlineSnapshot(`
      "✖ The backend "throws" of package "throws" cannot be loaded.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    Its module failed while it was imported: the licence server said no
               at <dir>/node_modules/throws/index.js:1:7
        Fix    Install another release of the plugin, or tell its author.
        Code   plugin.import-failed"
    `);
  });

  it('reports a dependency that an ES module lacks', async () => {
    expect(await failureOf('missing-dep')).toMatchInlineSnapshot(`
      "✖ The backend "missing-dep" of package "missing-dep" needs an-absent-package, which is not installed.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    Imported from <dir>/node_modules/missing-dep/index.js or from a module that it imports.
        Fix    Run "npm install" in the folder of the plugin, or "npm install an-absent-package" there.
        Code   plugin.missing-dependency
        Cause  Cannot find package 'an-absent-package' imported from <dir>/node_modules/missing-dep/index.js"
    `);
  });

  it('reports a dependency that a CommonJS module lacks', async () => {
    expect(await failureOf('missing-dep-cjs')).toMatchInlineSnapshot(`
      "✖ The backend "missing-dep-cjs" of package "missing-dep-cjs" needs an-absent-package, which is not installed.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    Imported from <dir>/node_modules/missing-dep-cjs/index.js or from a module that it imports.
        Fix    Run "npm install" in the folder of the plugin, or "npm install an-absent-package" there.
        Code   plugin.missing-dependency
        Cause  Cannot find module 'an-absent-package'
               Require stack:
               - <dir>/node_modules/missing-dep-cjs/index.js"
    `);
  });

  it('reports a file of its own that is missing', async () => {
    expect(await failureOf('missing-file')).toMatchInlineSnapshot(`
      "✖ The backend "missing-file" of package "missing-file" cannot be loaded.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    Its module failed while it was imported: Cannot find module '<dir>/node_modules/missing-file/absent.js' imported from <dir>/node_modules/missing-file/index.js
        Fix    Install another release of the plugin, or tell its author.
        Code   plugin.import-failed"
    `);
  });

  it('reports a top-level await that never settles', async () => {
    expect(await failureOf('hangs', 50)).toMatchInlineSnapshot(`
      "✖ The backend "hangs" of package "hangs" did not load within 0.05 s.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    The import of <dir>/node_modules/hangs/index.js has not settled: a top-level await that waits for ever?
        Fix    Do slow work in open(), where it can be cancelled, not while the module loads.
        Code   plugin.import-timeout"
    `);
  });

  it('reports a plugin that was not built', async () => {
    expect(await failureOf('not-built')).toMatchInlineSnapshot(`
      "✖ The backend "not-built" of package "not-built" cannot be loaded.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    Its module does not exist: <dir>/node_modules/not-built/dist/index.js
        Fix    If the plugin has to be built, build it; otherwise correct "entry" in its manifest.
        Code   plugin.import-failed"
    `);
  });

  it('reports TypeScript in node_modules', async () => {
    expect(await failureOf('ts-in-node-modules')).toMatchInlineSnapshot(`
      "✖ The backend "ts-in-node-modules" of package "ts-in-node-modules" is TypeScript, which Node does not run from node_modules.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    Node strips types from your own files only: <dir>/node_modules/ts-in-node-modules/index.ts
        Fix    Publish the plugin as JavaScript; while developing, name its folder in "plugins" instead of installing it.
        Code   plugin.typescript-in-node-modules
        Cause  Stripping types is currently unsupported for files under node_modules, for "file://<dir>/node_modules/ts-in-node-modules/index.ts""
    `);
  });

  it('reports a module without a default export', async () => {
    expect(await failureOf('no-default')).toMatchInlineSnapshot(`
      "✖ The backend "no-default" of package "no-default" is not a plugin that can be used.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    There is no default export.
        Fix    Export it by default, made with defineBackend, defineFilter or defineFrontend (API version 2).
        Code   plugin.bad-shape"
    `);
  });

  it('reports a plugin with another name than its manifest says', async () => {
    expect(await failureOf('other-name')).toMatchInlineSnapshot(`
      "✖ The backend "other-name" of package "other-name" is not a plugin that can be used.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    "name" is "surprise", the manifest says "other-name".
        Fix    Export it by default, made with defineBackend, defineFilter or defineFrontend (API version 2).
        Code   plugin.bad-shape"
    `);
  });

  it('reports a plugin without its entry point', async () => {
    expect(await failureOf('bad-shape')).toMatchInlineSnapshot(`
      "✖ The backend "bad-shape" of package "bad-shape" is not a plugin that can be used.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    "open" is not a function.
        Fix    Export it by default, made with defineBackend, defineFilter or defineFrontend (API version 2).
        Code   plugin.bad-shape"
    `);
  });

  it('reports a local file that throws', async () => {
    expect(await localFailureOf('local-throws.ts')).toMatchInlineSnapshot(`
      "✖ The local plugin ./local-throws.ts cannot be loaded.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    Its module failed while it was imported: the local file is broken
               at <dir>/local-throws.ts:1:7
        Fix    Correct <dir>/local-throws.ts.
        Code   plugin.import-failed"
    `);
  });

  it('reports a local file with syntax that cannot be erased', async () => {
    expect(await localFailureOf('local-enum.ts')).toMatchInlineSnapshot(`
      "✖ The local plugin ./local-enum.ts cannot be loaded.
        Where  <dir>/plugins.json:4:5  (/plugins/0)
        Why    Its module failed while it was imported: TypeScript enum is not supported in strip-only mode
        Fix    Use only syntax that can be erased: no enums, namespaces, parameter properties or decorators.
        Code   plugin.import-failed"
    `);
  });

  it('mentions what could not be loaded where a type is unknown', async () => {
    await using workspace = await PluginWorkspace.create([], ['local-throws.ts']);
    const registry = await workspace.registry(['./local-throws.ts']);
    const error: unknown = await registry.prepareBackend(use('memroy')).catch((reason: unknown) => reason);
    expect(workspace.render(error)).toMatchInlineSnapshot(`
      "✖ Unknown backend type "memroy".
        Where  plugins.json  (/disks/disk0/backend/type)
        Why    No loaded plugin provides it. Known: file, memory, nbd, redis, s3.
               The local plugin ./local-throws.ts cannot be loaded.
        Fix    Did you mean "memory"?  Or add the package that provides "memroy" to "plugins".
        Code   config.unknown-backend"
    `);
  });
});
