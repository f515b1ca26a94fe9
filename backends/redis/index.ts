import { defineBackend } from '../../core/plugin.ts';
import { type RedisConfig, redisConfig } from './config.ts';

export default defineBackend<RedisConfig>({
  name: 'redis',
  description: 'A volume in a Redis or Valkey server, behind sentinels, or in a cluster.',
  config: redisConfig,
  // Loaded when a disk needs them: checking a configuration must stay cheap.
  open: async (config, ctx) => (await import('./open.ts')).openVolume(config, ctx),
  check: async (config, ctx) => (await import('./check.ts')).checkServers(config, ctx),
  warmUp: () => import('./open.ts'),
  volumes: {
    create: async (config, ctx) => (await import('./volumes.ts')).createVolume(config, ctx),
    info: async (config, ctx) => (await import('./volumes.ts')).volumeInfo(config, ctx),
    list: async (config, ctx) => (await import('./volumes.ts')).listVolumes(config, ctx),
    resize: async (config, size, ctx) => (await import('./volumes.ts')).resizeVolume(config, size, ctx),
    delete: async (config, options, ctx) => (await import('./volumes.ts')).deleteVolume(config, options, ctx),
  },
});
