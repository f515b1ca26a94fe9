import { z } from 'zod';
import type { ResolvedDevice } from '../api/device.ts';
import { defineFilter } from '../api/filter.ts';
import type { Logger } from '../api/logger.ts';
import { type Observation, ObservedLayer } from './observed.ts';
import { OPS } from './ops.ts';

const config = z.strictObject({
  on: z
    .array(z.enum(OPS))
    .default([...OPS])
    .meta({ description: 'Operations that are logged.' }),
  slowerThanMs: z
    .number()
    .nonnegative()
    .default(0)
    .meta({ description: 'Log only requests that take at least so many milliseconds, and those that fail.' }),
});
type Config = z.output<typeof config>;

class LogLayer extends ObservedLayer {
  readonly #config: Config;
  readonly #logger: Logger;

  constructor(next: ResolvedDevice, options: Config, logger: Logger) {
    super(next);
    this.#config = options;
    this.#logger = logger;
  }

  protected override observe({ op, offset, length, ms, error }: Observation): void {
    const { on, slowerThanMs } = this.#config;
    if (!on.includes(op)) return;
    const facts = { offset, length, ms: Number(ms.toFixed(3)) };
    if (error !== undefined) this.#logger.warn(`${op} failed`, { ...facts, why: error.message });
    else if (ms >= slowerThanMs) this.#logger.info(op, facts);
  }
}

export default defineFilter<Config>({
  name: 'log',
  description: 'Writes every request, or every slow one, to the log.',
  config,
  stance: {
    read: 'own',
    write: 'own',
    flush: 'own',
    discard: 'own',
    writeZeroes: 'own',
    extents: 'own',
    prefetch: 'own',
  },
  wrap: (next, options, ctx) => new LogLayer(next, options, ctx.logger),
});
