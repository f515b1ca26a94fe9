import type { Redis } from 'ioredis';
import type { RedisClients } from './clients.ts';
import { unsafe } from './errors.ts';

/** What one master says of itself. */
export interface ServerFacts {
  /** major × 100 + minor of the Redis version that it is compatible with. */
  readonly version: number;
  readonly versionText: string;
  readonly evictionPolicy: string;
  readonly aof: boolean;
  /** The last write of the append-only file did not fail. */
  readonly aofWorks: boolean;
  /** `always`, `everysec`, `no`; undefined when the user may not ask. */
  readonly appendfsync: string | undefined;
  /** Connected. */
  readonly replicas: number;
  /** Bytes; 0: no limit. */
  readonly maxMemory: number;
  readonly usedMemory: number;
}

/** Of every master. */
export function serverFacts(clients: RedisClients): Promise<ServerFacts[]> {
  return Promise.all(clients.masters().map(factsOf));
}

async function factsOf(master: Redis): Promise<ServerFacts> {
  const lines = (await master.info()).split('\r\n');
  const info = new Map(
    lines
      .filter((line) => line.includes(':'))
      .map((line) => {
        const colon = line.indexOf(':');
        return [line.slice(0, colon), line.slice(colon + 1)] as const;
      }),
  );
  const number = (field: string): number => Number(info.get(field) ?? 0);
  const versionText = info.get('redis_version') ?? '0.0';
  const [major = 0, minor = 0] = versionText.split('.').map(Number);
  const answer = (await master.config('GET', 'appendfsync').catch(() => [])) as string[];
  return {
    version: major * 100 + minor,
    versionText,
    evictionPolicy: info.get('maxmemory_policy') ?? 'unknown',
    aof: info.get('aof_enabled') === '1',
    aofWorks: info.get('aof_last_write_status') !== 'err',
    appendfsync: answer[1],
    replicas: number('connected_slaves'),
    maxMemory: number('maxmemory'),
    usedMemory: number('used_memory'),
  };
}

/** Why data would be lost here, whatever the durability; undefined when it would not. */
export function dangerOf(facts: ServerFacts): string | undefined {
  if (facts.evictionPolicy !== 'noeviction')
    return `its maxmemory-policy is ${facts.evictionPolicy}: when memory is short it throws keys away`;
  if (facts.aof && !facts.aofWorks) return 'it cannot write its append-only file';
  return undefined;
}

/** Throws `redis.unsafe-server`. */
export function assertSafe(clients: RedisClients, all: readonly ServerFacts[]): void {
  const danger = all.map(dangerOf).find((found) => found !== undefined);
  if (danger === undefined) return;
  throw unsafe(
    clients.where,
    `${danger[0]!.toUpperCase()}${danger.slice(1)}.`,
    'Set "maxmemory-policy noeviction" in its configuration, and see to its disk.',
  );
}
