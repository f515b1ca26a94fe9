import { ConfigTarget } from './config.ts';
import { MessagesTarget } from './messages.ts';
import { NbdTarget } from './nbd.ts';
import { NbdServerTarget } from './nbd-server.ts';
import { RingsTarget } from './rings.ts';
import type { FuzzTarget } from './target.ts';

/** What can be fuzzed, by name. */
export const TARGETS: Readonly<Record<string, () => FuzzTarget>> = {
  rings: () => new RingsTarget(),
  messages: () => new MessagesTarget(),
  config: () => new ConfigTarget(),
  nbd: () => new NbdTarget(),
  'nbd-server': () => new NbdServerTarget(),
};
