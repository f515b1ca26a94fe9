import { describe, expect, it } from 'vitest';
import type { DiskConfig, PluginUse } from '../../../core/config/config.ts';
import { PluginRegistry } from '../../../core/plugins/registry.ts';
import { PluginWorkspace } from '../../support/plugin-workspace.ts';

function use(pointer: string, type: string, config: Record<string, unknown> = {}): PluginUse {
  return { type, config, pointer, locate: (at) => ({ file: 'plugins.json', pointer: at }) };
}

function disk(parts: Partial<DiskConfig> = {}): DiskConfig {
  return {
    name: 'disk0',
    frontend: use('/disks/disk0/frontend', 'vduse'),
    filters: [],
    backend: use('/disks/disk0/backend', 'memory', { size: '1MiB' }),
    readOnly: false,
    standby: false,
    ...parts,
  };
}

describe('the built-in plugins', () => {
  it('are all there, described, and load under their names', async () => {
    const registry = PluginRegistry.builtIn();
    for (const { kind, name, origin, load } of registry.list()) {
      const plugin = await load();
      expect(plugin).toMatchObject({ kind, name });
      expect(plugin.description).toMatch(/^[A-Z].*\.$/);
      expect(origin).toBe('built-in');
    }
    expect(registry.list().map(({ kind, name }) => `${kind} ${name}`)).toEqual([
      'backend file',
      'backend memory',
      'backend nbd',
      'backend redis',
      'backend s3',
      'filter cache',
      'filter cow',
      'filter delay',
      'filter error',
      'filter log',
      'filter rate',
      'filter readonly',
      'filter stats',
      'frontend nbd',
      'frontend vduse',
    ]);
  });

  it('all have a JSON Schema', async () => {
    const registry = PluginRegistry.builtIn();
    const schemas = await registry.configSchemas();
    expect(registry.problems).toEqual([]);
    expect(schemas.map(({ name }) => name)).toEqual(registry.list().map(({ name }) => name));
  });
});

describe('prepareDisk', () => {
  it('gives each plugin of the disk its checked configuration, in the order of the file', async () => {
    const filters = [use('/f/0', 'delay', { readMs: 5 }), use('/f/1', 'error', { rate: 0 })];
    const prepared = await PluginRegistry.builtIn().prepareDisk(disk({ filters, readOnly: true }));
    expect(prepared).toMatchObject({
      name: 'disk0',
      readOnly: true,
      backend: { plugin: { name: 'memory' }, config: { size: 2 ** 20 } },
      filters: [
        { plugin: { name: 'delay' }, config: { readMs: 5, writeMs: 0 } },
        { plugin: { name: 'error' }, config: { rate: 0, code: 'EIO' } },
      ],
      frontend: { plugin: { name: 'vduse' } },
    });
  });

  it('reports what is wrong with every part of the disk', async () => {
    const broken = disk({
      frontend: use('/disks/disk0/frontend', 'vduze'),
      filters: [use('/disks/disk0/filters/0', 'delay', { readMs: -1 })],
      backend: use('/disks/disk0/backend', 'memory', { size: '1MiB', colour: 'red' }),
    });
    await expect(PluginRegistry.builtIn().prepareDisk(broken)).rejects.toMatchObject({
      errors: [
        { code: 'config.unknown-frontend', where: { pointer: '/disks/disk0/frontend/type' } },
        { code: 'config.invalid', where: { pointer: '/disks/disk0/filters/0/readMs' } },
        { code: 'config.unknown-key', where: { pointer: '/disks/disk0/backend/colour' } },
      ],
    });
  });

  it('does not take a backend for a filter of the same name', async () => {
    const confused = disk({ filters: [use('/disks/disk0/filters/0', 'memory')] });
    await expect(PluginRegistry.builtIn().prepareDisk(confused)).rejects.toMatchObject({
      errors: [{ code: 'config.unknown-filter' }],
    });
  });
});

describe('disks prepared at the same time', () => {
  it('wait for the same run of a bare file', async () => {
    await using workspace = await PluginWorkspace.create([], ['local-file.ts']);
    const registry = await workspace.registry(['./local-file.ts']);
    const prepared = await Promise.all([1, 2].map(() => registry.prepareBackend(use('/b', 'local-file'))));
    expect(prepared.map(({ plugin }) => plugin.name)).toEqual(['local-file', 'local-file']);
  });
});

describe('configSchemas', () => {
  it('takes the schema that a manifest names, without running the plugin', async () => {
    await using workspace = await PluginWorkspace.create(['with-schema']);
    const registry = await workspace.registry(['with-schema']);
    const schemas = await registry.configSchemas();
    expect(schemas.find(({ name }) => name === 'with-schema')).toMatchObject({
      description: 'Says so without running.',
      schema: { required: ['host'] },
    });
  });

  it('leaves out what cannot be loaded, and says so', async () => {
    await using workspace = await PluginWorkspace.create(['throws'], ['local-throws.ts']);
    const registry = await workspace.registry(['throws', './local-throws.ts']);
    const schemas = await registry.configSchemas();
    expect(schemas.map(({ name }) => name)).not.toContain('throws');
    expect(registry.problems.map(({ code }) => code)).toEqual([
      'plugin.import-failed',
      'plugin.import-failed',
    ]);
  });
});
