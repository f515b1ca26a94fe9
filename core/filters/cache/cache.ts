import { resolve } from 'node:path';
import { z } from 'zod';
import type { PluginContext } from '../../api/backend.ts';
import type { ResolvedDevice } from '../../api/device.ts';
import { GatewayError } from '../../api/errors.ts';
import { defineFilter } from '../../api/filter.ts';
import { sizeSchema } from '../../util/config-types.ts';
import { formatSize } from '../../util/size.ts';
import { openPrivateFile } from '../private-file.ts';
import { leaveIndex, takeUpIndex } from './cache-index.ts';
import { CacheLayer } from './cache-layer.ts';
import { FileStorage, RamStorage } from './page-storage.ts';
import { PageTable } from './page-table.ts';

const config = z.strictObject({
  size: sizeSchema({ min: 2 ** 20 })
    .prefault('256MiB')
    .meta({ description: 'What the cache holds at most.' }),
  mode: z.enum(['writethrough', 'writeback']).default('writethrough').meta({
    description:
      'writethrough: a write goes to the store before it is answered. writeback: it stays here until a flush, and is lost when the process is killed before.',
  }),
  page: sizeSchema({ min: 4096, max: 2 ** 20 })
    .refine((bytes) => Number.isInteger(Math.log2(bytes)), 'must be a power of two')
    .prefault('64KiB')
    .meta({ description: 'Unit of the cache, a power of two: what is read of the store at a time.' }),
  file: z.string().min(1).optional().meta({
    description:
      'Keep the cache in this file, through restarts, and not in memory. Nobody else may write to the store meanwhile. Relative to plugins.json.',
  }),
});
type Config = z.output<typeof config>;

async function openCache(next: ResolvedDevice, options: Config, ctx: PluginContext): Promise<CacheLayer> {
  const { size: bytes, page: pageSize, mode, file } = options;
  if (pageSize < next.limits.blockSize) throw pageTooSmall(pageSize, next.limits.blockSize);
  const table = new PageTable(Math.floor(bytes / pageSize));
  const writeBack = mode === 'writeback' && next.caps.write;
  const common = { pageSize, writeBack, table };
  if (file === undefined)
    return new CacheLayer(next, { ...common, storage: new RamStorage(), onClose: async () => {} });
  const path = resolve(ctx.baseDir, file);
  const checksums = new Uint32Array(table.capacity);
  const handle = await openPrivateFile(path, 'cache');
  const shape = { size: next.size, pageSize };
  await takeUpIndex(`${path}.index`, table, checksums, shape);
  ctx.logger.info('the cache is there', { path, pages: table.size });
  return new CacheLayer(next, {
    ...common,
    storage: new FileStorage(handle, pageSize, checksums),
    onClose: () => leaveIndex(`${path}.index`, table, checksums, shape),
  });
}

function pageTooSmall(page: number, block: number): GatewayError {
  return new GatewayError('filter.cache-page', `Pages of ${formatSize(page)} are too small for this cache.`, {
    why: `What is below works in blocks of ${formatSize(block)}.`,
    fix: `Set "page" of the cache filter to "${formatSize(block)}" or more.`,
  });
}

export default defineFilter<Config>({
  name: 'cache',
  description: 'Keeps what was read or written in memory or in a file.',
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
  wrap: openCache,
});
