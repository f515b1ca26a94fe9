import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { inspectConfig } from '../../../core/config/load.ts';
import { PluginRegistry } from '../../../core/plugins/registry.ts';
import { renderError } from '../../../core/util/render-error.ts';

const FOLDER = join(import.meta.dirname, '../../fixtures/config');
const FIXTURES = readdirSync(FOLDER).filter((name) => name.endsWith('.json'));

/** Everything that `check` would say about a file. */
async function report(file: string): Promise<string> {
  const { config, problems } = await inspectConfig(file);
  const errors: unknown[] = [...problems];
  if (config) {
    const registry = await PluginRegistry.load(config);
    errors.push(...registry.problems);
    for (const disk of config.disks.values()) {
      await registry.prepareDisk(disk).catch((error: unknown) => errors.push(error));
    }
  }
  return `${errors.map(renderError).join('\n\n')}\n`.replaceAll(`${FOLDER}/`, '');
}

describe('a broken plugins.json', () => {
  it.each(FIXTURES)('is reported exactly: %s', async (name) => {
    const text = await report(join(FOLDER, name));
    expect(text).not.toContain('hunter2');
    await expect(text).toMatchFileSnapshot(join(FOLDER, name.replace(/\.json$/, '.txt')));
  });
});
