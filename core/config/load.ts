import type { LoadedConfig, PluginUse } from './config.ts';

export interface LoadOptions {
  /** `--set` overrides, each `path=value` with a dotted path: `disks.disk0.readOnly=true`. */
  readonly overrides?: readonly string[];
}

/** Reads plugins.json. Throws `ConfigErrors` with every problem found. */
export function loadConfig(_file: string, _options: LoadOptions = {}): Promise<LoadedConfig> {
  throw new Error('not written yet');
}

/** A backend given as JSON on the command line, checked like one in plugins.json. Throws `ConfigErrors`. */
export function parsePluginUse(_json: string): PluginUse {
  throw new Error('not written yet');
}
