import { BlockError, GatewayError } from '../../core/plugin.ts';

/** What the scripts say: see scripts.ts. */
const FENCED = 'BGFENCED';
const GONE = 'BGGONE';

export function isFenced(error: unknown): boolean {
  return messageOf(error).includes(FENCED);
}

/** The volume is not there any more: FLUSHALL, or a failover to a server that never had it. */
export function isGone(error: unknown): boolean {
  return messageOf(error).includes(GONE);
}

/** The answer of a server that is there; anything else is a connection that is not. */
export function isReply(error: unknown): boolean {
  const { name } = error as { name?: string };
  const message = messageOf(error);
  // Of a server that is on its way: those that come or go, and nodes of a cluster that do not know of each other yet.
  if (/^(?:LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|READONLY|UNBLOCKED|NOREPLICAS)\b/.test(message))
    return false;
  return name === 'ReplyError';
}

export function fenced(cause: unknown): BlockError {
  return new BlockError('EIO', 'another gateway has taken the volume over: the server refuses our changes', {
    cause,
  });
}

export function gone(): BlockError {
  return new BlockError(
    'EIO',
    'the volume is not on the Redis server any more: FLUSHALL, or a failover to a server that never had it',
  );
}

/** Of a request. */
export function requestError(error: unknown): BlockError {
  const message = messageOf(error);
  const isFull = /^(?:OOM|MISCONF)\b|OOM command not allowed/.test(message);
  return new BlockError(isFull ? 'ENOSPC' : 'EIO', `the Redis server says: ${message}`, { cause: error });
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export function unavailable(where: string, cause: unknown): GatewayError {
  return new GatewayError('redis.unavailable', `The Redis server at ${where} cannot be used.`, {
    why: messageOf(cause),
    fix: 'Start the server, or correct address, user, password and "tls".',
    cause,
  });
}

export function unsafe(where: string, why: string, fix: string): GatewayError {
  return new GatewayError('redis.unsafe-server', `The Redis server at ${where} would lose data.`, {
    why,
    fix,
  });
}

export function durabilityUnavailable(mode: string, why: string, fix: string): GatewayError {
  return new GatewayError('redis.durability-unavailable', `The durability "${mode}" cannot be had.`, {
    why,
    fix,
  });
}

export function volumeNotFound(volume: string): GatewayError {
  return new GatewayError('volume.not-found', `There is no volume "${volume}".`, {
    fix: 'Give a "size", with which it is created, or run "blockgate volume create".',
  });
}

export function volumeLost(volume: string, disk: string): GatewayError {
  return new GatewayError('volume.lost', `The volume "${volume}" is not there any more.`, {
    why: `The disk "${disk}" had it: it was deleted, or the server has lost it (FLUSHALL, a failover to a server that never had it).`,
    fix: `Restore the server. If the data is to be given up: blockgate volume create ${disk}, which begins with an empty disk.`,
  });
}

export function volumeExists(volume: string): GatewayError {
  return new GatewayError('volume.exists', `There already is a volume "${volume}".`, {
    fix: 'Use it, choose another name, or delete it first.',
  });
}

export function volumeOwned(volume: string, owner: string): GatewayError {
  return new GatewayError('volume.owned', `The volume "${volume}" is in use by ${owner}.`, {
    why: 'Two writers would destroy each other’s data.',
    fix: 'Stop the other gateway. If it is gone for good, start with --take-over: its writes are refused from then on.',
  });
}

export function ownerContended(volume: string): GatewayError {
  return new GatewayError(
    'volume.owner-contended',
    `Another gateway took the volume "${volume}" at the same time.`,
    {
      fix: 'Leave it to one of them.',
    },
  );
}

export function sizeMismatch(volume: string, is: number, wanted: number): GatewayError {
  return new GatewayError('volume.size-mismatch', `The volume "${volume}" has ${is} bytes, not ${wanted}.`, {
    fix: 'Correct "size", or grow the volume with "blockgate volume resize".',
  });
}

export function shapeMismatch(volume: string, what: string, is: number, wanted: number): GatewayError {
  return new GatewayError(
    'volume.chunk-size-mismatch',
    `The volume "${volume}" has ${what} ${is}, not ${wanted}.`,
    {
      why: 'It is fixed when a volume is created.',
      fix: `Correct or leave out "${what}".`,
    },
  );
}

export function cannotShrink(volume: string, is: number, wanted: number): GatewayError {
  return new GatewayError('volume.cannot-shrink', `The volume "${volume}" cannot shrink.`, {
    why: `It has ${is} bytes, and ${wanted} are asked for.`,
    fix: 'Create a smaller one and copy.',
  });
}

export function corrupt(volume: string, why: string): GatewayError {
  return new GatewayError('volume.corrupt', `The volume "${volume}" cannot be used as it is.`, {
    why,
    fix: 'Restore the server from a backup, or delete the volume and create it again.',
  });
}

export function tooManyChunks(size: number, chunkSize: number): GatewayError {
  return new GatewayError('volume.bad-size', `${size} bytes in chunks of ${chunkSize} are too many chunks.`, {
    why: 'A volume has up to 2^31 chunks.',
    fix: 'Choose a larger "chunkSize", or a smaller "size".',
  });
}
