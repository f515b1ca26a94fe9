import { existsSync } from 'node:fs';
import { resolve as resolvePath } from 'node:path';
import { z } from 'zod';
import type { Extent, IoFlags, IoVec, MaybePromise, Op, ResolvedDevice } from '../api/device.ts';
import { type BlockErrno, BlockError } from '../api/errors.ts';
import { defineFilter } from '../api/filter.ts';
import { PassThrough } from '../block/pass-through.ts';
import { sizeSchema } from '../util/config-types.ts';
import { iovLength } from '../util/iov.ts';
import { seededRandom } from '../util/random.ts';
import { OPS } from './ops.ts';

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
  range: z
    .strictObject({ offset: sizeSchema(), length: sizeSchema({ min: 1 }) })
    .optional()
    .meta({ description: 'Only requests that touch this part of the disk fail. Flushes touch all of it.' }),
  nth: z
    .int()
    .min(1)
    .optional()
    .meta({ description: 'Only the nth of the requests that could fail does, counted from 1.' }),
  once: z.boolean().default(false).meta({ description: 'Nothing fails any more after the first failure.' }),
  seed: z.int().nonnegative().default(0).meta({ description: 'Start of the random sequence.' }),
});

interface Rules {
  readonly rate: number;
  readonly ops: ReadonlySet<Op>;
  readonly code: BlockErrno;
  readonly file: string | undefined;
  readonly range: { readonly offset: number; readonly length: number } | undefined;
  readonly nth: number | undefined;
  readonly once: boolean;
  readonly seed: number;
}

class ErrorLayer extends PassThrough {
  readonly #rules: Rules;
  readonly #random: () => number;
  /** Requests that could have failed. */
  #candidates = 0;
  #hasFailed = false;

  constructor(next: ResolvedDevice, rules: Rules) {
    super(next);
    this.#rules = rules;
    this.#random = seededRandom(rules.seed);
  }

  override read(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    this.#perhapsFail('read', offset, iovLength(iov));
    return this.next.read(offset, iov, flags);
  }

  override write(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    this.#perhapsFail('write', offset, iovLength(iov));
    return this.next.write(offset, iov, flags);
  }

  override flush(flags: IoFlags): MaybePromise<void> {
    this.#perhapsFail('flush', 0, this.size);
    return this.next.flush(flags);
  }

  override discard(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    this.#perhapsFail('discard', offset, length);
    return this.next.discard(offset, length, flags);
  }

  override writeZeroes(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    this.#perhapsFail('writeZeroes', offset, length);
    return this.next.writeZeroes(offset, length, flags);
  }

  override extents(offset: number, length: number): MaybePromise<readonly Extent[]> {
    this.#perhapsFail('extents', offset, length);
    return this.next.extents(offset, length);
  }

  override prefetch(offset: number, length: number): MaybePromise<void> {
    this.#perhapsFail('prefetch', offset, length);
    return this.next.prefetch(offset, length);
  }

  #perhapsFail(op: Op, offset: number, length: number): void {
    const { ops, rate, code, file, range, nth, once } = this.#rules;
    if (!ops.has(op) || (once && this.#hasFailed)) return;
    if (range !== undefined && (offset >= range.offset + range.length || range.offset >= offset + length))
      return;
    if (file !== undefined && !existsSync(file)) return;
    this.#candidates++;
    if (nth === undefined ? this.#random() >= rate : this.#candidates !== nth) return;
    this.#hasFailed = true;
    throw new BlockError(code, `the error filter fails this ${op}`);
  }
}

export default defineFilter<z.output<typeof config>>({
  name: 'error',
  description: 'Makes requests fail: at a rate, on chosen operations, or while a file exists.',
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
  wrap: (next, { on, file, ...rules }, ctx) =>
    new ErrorLayer(next, {
      ...rules,
      range: rules.range,
      nth: rules.nth,
      ops: new Set(on),
      file: file === undefined ? undefined : resolvePath(ctx.baseDir, file),
    }),
});
