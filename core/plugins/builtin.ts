import { GatewayError } from '../api/errors.ts';
import { API_VERSION } from '../api/version.ts';
import { builtinFilters } from '../filters/index.ts';
import type { PluginDescriptor, PluginKind, PluginOfKind } from './descriptor.ts';
import { pluginOf } from './shape.ts';

type Table = Readonly<Record<string, () => Promise<{ readonly default: unknown }>>>;

/** Literal specifiers, so that types, bundlers and searches see them; each is imported when a disk names it. */
const BACKENDS: Table = {
  file: () => import('../../backends/file/index.ts'),
  memory: () => import('../../backends/memory/index.ts'),
  nbd: () => import('../../backends/nbd/index.ts'),
  redis: () => import('../../backends/redis/index.ts'),
  s3: () => import('../../backends/s3/index.ts'),
};

const FRONTENDS: Table = {
  nbd: () => import('../../frontends/nbd/index.ts'),
  vduse: () => import('../../frontends/vduse/index.ts'),
};

/** The plugins that come with blockgate. */
export function builtinPlugins(): PluginDescriptor[] {
  return [
    ...descriptors('backend', BACKENDS),
    ...descriptors('filter', builtinFilters),
    ...descriptors('frontend', FRONTENDS),
  ];
}

function descriptors<K extends PluginKind>(kind: K, table: Table): PluginDescriptor<K>[] {
  return Object.entries(table).map(([name, load]) => {
    const subject = `built-in ${kind} ${JSON.stringify(name)}`;
    return {
      kind,
      name,
      origin: 'built-in',
      apiVersion: API_VERSION,
      load: async (): Promise<PluginOfKind[K]> =>
        pluginOf(await load().catch((cause: unknown) => fail(subject, cause)), { kind, name }, subject),
    };
  });
}

function fail(subject: string, cause: unknown): never {
  throw new GatewayError('plugin.import-failed', `The ${subject} cannot be loaded.`, {
    why: cause instanceof Error ? cause.message : String(cause),
    fix: 'Install blockgate again: "npm ci" in a checkout, "npm install blockgate" elsewhere.',
    cause,
  });
}
