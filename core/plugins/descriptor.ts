import type { BackendPlugin } from '../api/backend.ts';
import type { FilterPlugin } from '../api/filter.ts';
import type { FrontendPlugin } from '../api/frontend.ts';
import type { JsonSchema } from '../config/json-shape.ts';

export interface PluginOfKind {
  readonly backend: BackendPlugin;
  readonly filter: FilterPlugin;
  readonly frontend: FrontendPlugin;
}

export type PluginKind = keyof PluginOfKind;

export const PLUGIN_KINDS = ['backend', 'filter', 'frontend'] as const satisfies readonly PluginKind[];

/** What is known about a plugin without running its code, and the way to its code. */
export interface PluginDescriptor<K extends PluginKind = PluginKind> {
  readonly kind: K;
  readonly name: string;
  /** For people: `built-in`, `package "@acme/x"`, `local plugin ./my-plugin.ts`. */
  readonly origin: string;
  /** Version of the package it came in. */
  readonly version?: string;
  readonly apiVersion: number;
  readonly description?: string;
  /** JSON Schema of its configuration, where its manifest names one. Runs no code. */
  readonly schema?: () => Promise<JsonSchema>;
  /** Imports the module and checks its shape; repeated calls import once. */
  load(): Promise<PluginOfKind[K]>;
}
