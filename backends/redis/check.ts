import { type Finding, formatSize, GatewayError, type PluginContext } from '../../core/plugin.ts';
import { RedisClients } from './clients.ts';
import type { RedisConfig } from './config.ts';
import { Durability } from './durability.ts';
import { explained } from './open.ts';
import { assertSafe, serverFacts } from './server-facts.ts';

/** Looks at the servers, and changes nothing. */
export async function checkServers(config: RedisConfig, ctx: PluginContext): Promise<readonly Finding[]> {
  try {
    using clients = await RedisClients.connect(config, ctx);
    return await explained(clients, async () => {
      const all = await serverFacts(clients);
      assertSafe(clients, all);
      const { mode, promise } = Durability.choose(config, all);
      const findings: Finding[] = [
        { severity: 'ok', summary: `${clients.where}: durability "${mode}": ${promise}` },
      ];
      for (const { maxMemory, usedMemory } of all)
        if (maxMemory > 0)
          findings.push({
            severity: usedMemory > maxMemory * 0.9 ? 'warning' : 'ok',
            summary: `${clients.where}: ${formatSize(maxMemory - usedMemory)} of ${formatSize(maxMemory)} are free; saving may need as much again`,
          });
      return findings;
    });
  } catch (error) {
    if (!GatewayError.is(error)) throw error;
    const { message, why, fix } = error;
    return [{ severity: 'error', summary: `${message} ${why ?? ''}`, ...(fix && { fix }) }];
  }
}
