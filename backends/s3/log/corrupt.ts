import { GatewayError } from '../../../core/plugin.ts';

/** An object of a volume is not what it should be. */
export function corrupt(key: string, why: string): GatewayError {
  return new GatewayError('volume.corrupt', `The object ${key} of the log is damaged.`, {
    why,
    fix: 'Restore it from a backup or an older version. What of the disk is affected: blockgate volume check <disk>',
  });
}
