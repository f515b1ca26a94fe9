import { describe, expect, it } from 'vitest';
import { redisConfig } from '../../../backends/redis/config.ts';
import { Durability, type DurabilityMode } from '../../../backends/redis/durability.ts';
import type { ServerFacts } from '../../../backends/redis/server-facts.ts';

const FACTS: ServerFacts = {
  version: 700,
  versionText: '7.0.15',
  evictionPolicy: 'noeviction',
  aof: true,
  aofWorks: true,
  appendfsync: 'always',
  replicas: 1,
  maxMemory: 0,
  usedMemory: 0,
};
const WITH_WAITAOF = { version: 800, appendfsync: 'everysec' };

function chosen(durability: DurabilityMode, facts: Partial<ServerFacts> = {}): Durability {
  const config = redisConfig.parse({ address: '127.0.0.1:1', volume: 'vol', durability });
  return Durability.choose(config, [{ ...FACTS, ...facts }]);
}

describe('a flush is not answered any more', () => {
  it.each<[DurabilityMode, Partial<ServerFacts>, Partial<ServerFacts>]>([
    ['aof', {}, { appendfsync: 'everysec' }],
    ['aof', {}, { appendfsync: undefined }],
    ['aof', {}, { aof: false }],
    ['aof', WITH_WAITAOF, { aof: false }],
    ['aof+replicas', WITH_WAITAOF, { aof: false }],
  ])('with the durability %s on %o once the server is %o', (mode, before, change) => {
    const durability = chosen(mode, before);
    const facts = { ...FACTS, ...before };
    expect(durability.dangerOf(facts)).toBeUndefined();
    expect(durability.dangerOf({ ...facts, ...change })).toBeDefined();
  });

  it('for nothing that was not promised', () => {
    for (const mode of ['memory', 'replicated'] as const)
      expect(chosen(mode).dangerOf({ ...FACTS, aof: false, appendfsync: 'no' })).toBeUndefined();
    const asked = chosen('aof', WITH_WAITAOF);
    expect(asked.dangerOf({ ...FACTS, ...WITH_WAITAOF, appendfsync: 'no' })).toBeUndefined();
  });
});
