import type { Logger } from '../../../core/api/logger.ts';
import { PassThrough } from '../../../core/block/pass-through.ts';
import { defineBackend, defineFilter, defineFrontend, type Holder } from '../../../core/plugin.ts';
import type { PreparedDisk } from '../../../core/plugins/registry.ts';

/** A schema that takes anything. */
export const anyConfig = {
  '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) },
} as const;

export const silentLogger: Logger = {
  error() {},
  warn() {},
  info() {},
  debug() {},
  child: () => silentLogger,
};

/** Where a spy disk is told to fail. */
export type FailAt = 'open' | 'filter' | 'attach' | 'quiesce' | 'detach' | 'flush' | 'close';

export interface SpyDisk {
  readonly disk: PreparedDisk;
  /** What happened, in order. */
  readonly calls: string[];
  readonly holders: Holder[];
  /** Settles the frontend's `closed`. */
  close(reason?: Error): void;
}

/** A disk of fakes that write down what is called, with two filters: `outer` (nearest the guest) and `inner`. */
export function spyDisk(options: { failAt?: FailAt; readOnly?: boolean } = {}): SpyDisk {
  const calls: string[] = [];
  const holders: Holder[] = [];
  const closed = Promise.withResolvers<Error | undefined>();
  const step = (name: string, failAt?: FailAt) => {
    calls.push(name);
    if (failAt !== undefined && failAt === options.failAt) throw new Error(`${name} went wrong`);
  };
  const backend = defineBackend<unknown>({
    name: 'spy',
    description: 'Writes down what is called.',
    config: anyConfig,
    async open() {
      step('backend.open', 'open');
      return {
        info: { size: 1 << 20, caps: { concurrency: 'parallel' } },
        read() {},
        write() {},
        flush: () => step('backend.flush', 'flush'),
        [Symbol.asyncDispose]: async () => step('backend.dispose', 'close'),
      };
    },
  });
  const filter = (name: string) =>
    defineFilter<unknown>({
      name,
      description: 'Passes everything.',
      config: anyConfig,
      stance: {
        read: 'pass',
        write: 'pass',
        flush: 'pass',
        discard: 'pass',
        writeZeroes: 'pass',
        extents: 'pass',
        prefetch: 'pass',
      },
      wrap(next) {
        step(`${name}.wrap`, name === 'outer' ? 'filter' : undefined);
        return Object.assign(new PassThrough(next), {
          [Symbol.asyncDispose]: async () => step(`${name}.dispose`),
        });
      },
    });
  const frontend = defineFrontend<unknown>({
    name: 'window',
    description: 'Shows the disk to nobody.',
    config: anyConfig,
    async attach() {
      step('frontend.attach', 'attach');
      return {
        path: '/dev/nowhere',
        holders: async () => holders,
        quiesce: async () => step('frontend.quiesce', 'quiesce'),
        closed: closed.promise,
        [Symbol.asyncDispose]: async () => step('frontend.dispose', 'detach'),
      };
    },
  });
  const disk: PreparedDisk = {
    name: 'disk0',
    readOnly: options.readOnly ?? false,
    backend: { plugin: backend, config: {} },
    filters: [
      { plugin: filter('outer'), config: {} },
      { plugin: filter('inner'), config: {} },
    ],
    frontend: { plugin: frontend, config: {} },
  };
  return { disk, calls, holders, close: closed.resolve };
}
