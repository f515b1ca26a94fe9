import { existsSync } from 'node:fs';
import { resolve as resolvePath } from 'node:path';
import { z } from 'zod';
import type { Extent, IoFlags, IoVec, MaybePromise, Op, ResolvedDevice } from '../api/device.ts';
import { type BlockErrno, BlockError } from '../api/errors.ts';
import { defineFilter } from '../api/filter.ts';
import { PassThrough } from '../block/pass-through.ts';
import { seededRandom } from '../util/random.ts';

const OPS = ['read', 'write', 'flush', 'discard', 'writeZeroes', 'extents'] as const satisfies readonly Op[];

const config = z.strictObject({
  rate: z.number().min(0).max(1).default(1).meta({ description: 'Share of requests that fail, 0 to 1.' }),
  on: z
    .array(z.enum(OPS))
    .default(['read', 'write'])
    .meta({ description: 'Operations that fail. The others pass.' }),
  code: z
    .enum(['EIO', 'ENOSPC', 'ENOTSUP', 'ETIMEDOUT'])
    .default('EIO')
    .meta({ description: 'The error. The guest tells only ENOTSUP from the rest.' }),
  file: z
    .string()
    .optional()
    .meta({ description: 'Fail only while this file exists. Relative to plugins.json.' }),
  seed: z.int().nonnegative().default(0).meta({ description: 'Start of the random sequence.' }),
});

interface Rules {
  readonly rate: number;
  readonly ops: ReadonlySet<Op>;
  readonly code: BlockErrno;
  readonly file: string | undefined;
  readonly seed: number;
}

class ErrorLayer extends PassThrough {
  readonly #rules: Rules;
  readonly #random: () => number;

  constructor(next: ResolvedDevice, rules: Rules) {
    super(next);
    this.#rules = rules;
    this.#random = seededRandom(rules.seed);
  }

  override read(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    this.#perhapsFail('read');
    return this.next.read(offset, iov, flags);
  }

  override write(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    this.#perhapsFail('write');
    return this.next.write(offset, iov, flags);
  }

  override flush(flags: IoFlags): MaybePromise<void> {
    this.#perhapsFail('flush');
    return this.next.flush(flags);
  }

  override discard(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    this.#perhapsFail('discard');
    return this.next.discard(offset, length, flags);
  }

  override writeZeroes(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    this.#perhapsFail('writeZeroes');
    return this.next.writeZeroes(offset, length, flags);
  }

  override extents(offset: number, length: number): MaybePromise<readonly Extent[]> {
    this.#perhapsFail('extents');
    return this.next.extents(offset, length);
  }

  #perhapsFail(op: Op): void {
    const { ops, rate, code, file } = this.#rules;
    if (!ops.has(op) || this.#random() >= rate) return;
    if (file !== undefined && !existsSync(file)) return;
    throw new BlockError(code, `the error filter fails this ${op}`);
  }
}

export default defineFilter<z.output<typeof config>>({
  name: 'error',
  description: 'Makes requests fail: at a rate, on chosen operations, or while a file exists.',
  config,
  stance: { read: 'own', write: 'own', flush: 'own', discard: 'own', writeZeroes: 'own', extents: 'own' },
  wrap: (next, { rate, on, code, file, seed }, ctx) =>
    new ErrorLayer(next, {
      rate,
      ops: new Set(on),
      code,
      seed,
      file: file === undefined ? undefined : resolvePath(ctx.baseDir, file),
    }),
});
