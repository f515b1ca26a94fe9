import type { PluginContext } from './backend.ts';
import type { DeviceStatus, MaybePromise, Op, ResolvedDevice } from './device.ts';
import type { ConfigSchema } from './schema.ts';
import { API_VERSION } from './version.ts';

/** `pass`: reaches the next layer unchanged. `own`: the filter's own code. `reject`: fails, and caps say so. */
export type Stance = 'pass' | 'own' | 'reject';

export interface FilterPlugin<C = unknown> {
  readonly kind: 'filter';
  readonly apiVersion: number;
  readonly name: string;
  readonly description: string;
  readonly config: ConfigSchema<C>;
  /** Total by type: an operation added to `Op` breaks the build of every filter that has not thought about it. */
  readonly stance: Readonly<Record<Op, Stance>>;
  wrap(next: ResolvedDevice, config: C, ctx: PluginContext): MaybePromise<FilterLayer>;
}

/** A layer; disposes of what is its own, never of `next`. */
export interface FilterLayer extends ResolvedDevice, Partial<AsyncDisposable> {
  /** Facts for `blockgate status`, by name. */
  status?(): DeviceStatus;
}

export function defineFilter<C>(plugin: Omit<FilterPlugin<C>, 'kind' | 'apiVersion'>): FilterPlugin<C> {
  return { kind: 'filter', apiVersion: API_VERSION, ...plugin };
}
