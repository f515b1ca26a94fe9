import { existsSync } from 'node:fs';
import { inspectConfig } from '../../config/load.ts';
import { PluginRegistry } from '../../plugins/registry.ts';
import type { Settings } from '../settings.ts';

/**
 * The built-in plugins and those that the configuration lists, for commands that are about plugins: there need not be
 * a configuration, and what it says about disks need not be right.
 */
export async function installedPlugins({ configFile, overrides }: Settings): Promise<PluginRegistry> {
  const { config } = existsSync(configFile) ? await inspectConfig(configFile, { overrides }) : {};
  return config ? PluginRegistry.load(config) : PluginRegistry.builtIn();
}
