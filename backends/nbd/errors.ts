import { NBD_EINVAL, NBD_ENOMEM, NBD_ENOSPC, NBD_ENOTSUP, NBD_EPERM } from '../../core/nbd/protocol.ts';
import { type BlockErrno, GatewayError } from '../../core/plugin.ts';

/** Of a reply (doc/proto.md "Error values"). What is not listed there means EINVAL, and to a disk EIO. */
export function errnoOf(error: number): BlockErrno {
  switch (error) {
    case NBD_EPERM:
      return 'EROFS';
    case NBD_ENOMEM:
      return 'ENOMEM';
    case NBD_EINVAL:
      return 'EINVAL';
    case NBD_ENOSPC:
      return 'ENOSPC';
    case NBD_ENOTSUP:
      return 'ENOTSUP';
    default:
      return 'EIO';
  }
}

export function unavailable(uri: string, cause: unknown): GatewayError {
  return new GatewayError('nbd.unavailable', `The NBD server of ${uri} cannot be reached.`, {
    why: (cause as Error).message,
    fix: 'Start the server, or correct "uri".',
    cause,
  });
}

export function refused(uri: string, why: string): GatewayError {
  return new GatewayError('nbd.refused', `The NBD server refuses ${uri}.`, {
    why,
    fix: 'Correct the configuration of the server or of this disk.',
  });
}

export function unknownExport(uri: string, names: readonly string[] | undefined): GatewayError {
  const list = names?.map((name) => JSON.stringify(name)).join(', ');
  return new GatewayError('nbd.unknown-export', `The NBD server has no export as in ${uri}.`, {
    why: list === undefined ? 'It does not say which it has.' : `It has: ${list || 'none'}.`,
    fix: 'Correct the name at the end of "uri".',
  });
}

export function unusable(uri: string, why: string): GatewayError {
  return new GatewayError('nbd.unusable-export', `The export ${uri} cannot be a disk.`, {
    why,
    fix: 'Have the server offer it in another way.',
  });
}

export function exportDiffers(why: string): GatewayError {
  return new GatewayError('nbd.export-differs', 'The NBD server has another export than before.', {
    why: `${why} Writes that belong to the old one are not sent to it.`,
    fix: 'Find out what became of the server, then stop the disk and start it again.',
  });
}

export function notGrown(size: number, wanted: number): GatewayError {
  return new GatewayError('nbd.not-grown', `The export has ${size} bytes, not ${wanted}.`, {
    why: 'An export is grown at its server.',
    fix: 'Grow it there, then run "blockgate resize" without a size.',
  });
}
