import { type ErrorLocation, GatewayError } from '../api/errors.ts';
import { API_VERSION } from '../api/version.ts';
import type { PluginKind } from './descriptor.ts';

/** The oldest contract whose backends and frontends still work. Filters need the exact version. */
const OLDEST_API_VERSION = 1;

/**
 * Backends and frontends of an older supported contract work; a filter does not, since an operation it has never
 * heard of would pass through it unseen. Throws `plugin.api-too-new` or `plugin.api-too-old`.
 */
export function assertApiVersion(
  version: unknown,
  kind: PluginKind,
  subject: string,
  where?: ErrorLocation,
): asserts version is number {
  const oldest = kind === 'filter' ? API_VERSION : OLDEST_API_VERSION;
  const at = where === undefined ? {} : { where };
  if (typeof version !== 'number' || !Number.isInteger(version)) {
    throw new GatewayError(
      'plugin.bad-shape',
      `The ${subject} does not say which plugin API it was written for.`,
      {
        why: '"apiVersion" is not a whole number.',
        fix: `Set "apiVersion": ${API_VERSION}.`,
        ...at,
      },
    );
  }
  if (version > API_VERSION) {
    throw new GatewayError('plugin.api-too-new', `The ${subject} needs a newer blockgate.`, {
      why: `It was written for plugin API ${version}; this blockgate has ${API_VERSION}.`,
      fix: 'Upgrade blockgate, or install an older release of the plugin.',
      ...at,
    });
  }
  if (version < oldest) {
    const supported = oldest === API_VERSION ? `${API_VERSION}` : `${oldest} to ${API_VERSION}`;
    throw new GatewayError('plugin.api-too-old', `The ${subject} is too old for this blockgate.`, {
      why: `It was written for plugin API ${version}; this blockgate supports ${supported}.`,
      fix: 'Install a newer release of the plugin, or an older blockgate.',
      ...at,
    });
  }
}
