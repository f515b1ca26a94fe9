import type { ErrorDocs } from './error-docs.ts';

/** Redis servers; what concerns their volumes is among those of stores. */
export const REDIS_ERRORS: ErrorDocs = {
  'redis.unavailable': {
    meaning: 'The Redis server cannot be reached, or does not let us in.',
    fix: 'Start it, or correct address, user, password and "tls".',
  },
  'redis.unsafe-server': {
    meaning: 'The Redis server is configured so that it would lose data.',
    fix: 'Set "maxmemory-policy noeviction" in its configuration, see to its disk, and let no key of a volume expire.',
  },
  'redis.durability-unavailable': {
    meaning: 'The Redis servers cannot promise what the disk is to be promised.',
    fix: 'Configure the server as the message says, or choose another "durability".',
  },
  'redis.tls-file': {
    meaning: 'A file with certificates or a key cannot be read.',
    fix: 'Correct the path.',
  },
};
