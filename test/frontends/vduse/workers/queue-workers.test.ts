import { closeSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fileDevice } from '../../../../backends/file/device.ts';
import { openStore } from '../../../../backends/file/open-store.ts';
import type { BlockDevice } from '../../../../core/api/device.ts';
import { resolve } from '../../../../core/block/resolve.ts';
import { threadVolume } from '../../../../core/block/thread-volume.ts';
import { provideInFlightFile } from '../../../../frontends/vduse/inflight-file.ts';
import { dropThreads, loadThreads } from '../../../../frontends/vduse/workers/queue-threads.ts';
import { QueueWorkers } from '../../../../frontends/vduse/workers/queue-workers.ts';
import { blkLimits } from '../../../../frontends/virtio/blk/limits.ts';
import type { MemoryLogger } from '../../../support/fake-device.ts';
import { openContext } from '../../../support/plugin-context.ts';
import { tempFolder } from '../../../support/temp-folder.ts';

const threads = () => readdirSync('/proc/self/task').length;
const fds = () => readdirSync('/proc/self/fd').length;

function settingsFor(device: BlockDevice, logger: MemoryLogger, fd: number, log: string) {
  const { caps, limits } = resolve(device, 'file');
  return {
    device: { fd, name: 'none' },
    volume: threadVolume({
      name: 'disk0',
      backend: 'file',
      readOnly: false,
      opener: device.perThread,
      filters: 0,
      automatic: [],
    })!,
    limits: blkLimits(caps, limits, 16),
    inFlight: { path: log, queues: 2, queueSize: 16 },
    serial: '',
    spinUs: 0,
    logger,
    onBroken: () => {},
  };
}

const info = {
  num: 16,
  descAddr: 0,
  driverAddr: 4096,
  deviceAddr: 8192,
  state: { layout: 'split', availIndex: 0 },
  ready: true,
} as const;

/** An open file as a volume, and what two queues' threads need besides; all of it `owned`. */
async function prepare(owned: AsyncDisposableStack) {
  const folder = owned.use(tempFolder());
  const ctx = openContext(folder.path);
  const store = await openStore({ path: 'disk', size: 2 ** 20, create: true, direct: false }, ctx);
  const device = owned.use(await fileDevice(store, ctx.logger));
  writeFileSync(folder.file('no-device'), '');
  provideInFlightFile(folder.file('in-flight'), { queues: 2, queueSize: 16, keep: false });
  const fd = openSync(folder.file('no-device'), 'r+');
  owned.defer(() => closeSync(fd));
  return { device, settings: settingsFor(device, ctx.logger, fd, folder.file('in-flight')) };
}

describe('threads of queues', () => {
  it('open the volume, tell what goes wrong with a driver, and leave nothing behind', async () => {
    await using owned = new AsyncDisposableStack();
    const { settings } = await prepare(owned);
    const before = { threads: threads(), fds: fds() };
    const workers = await QueueWorkers.start(2, settings);
    expect(threads()).toBeGreaterThan(before.threads);
    const opening = workers.open(0n, [info, info], 0);
    await expect(opening).rejects.toThrow('VDUSE_VQ_SETUP_KICKFD: ENOTTY');
    await workers[Symbol.asyncDispose]();
    expect(fds()).toBe(before.fds);
  });

  it('are those that were loaded before, where there are any', async () => {
    await using owned = new AsyncDisposableStack();
    const { device, settings } = await prepare(owned);
    const { module } = device.perThread!;
    await loadThreads(2, module);
    await loadThreads(3, module);
    const loaded = threads();
    const workers = await QueueWorkers.start(2, settings);
    expect(threads()).toBe(loaded);
    await dropThreads();
    expect(threads()).toBeLessThan(loaded);
    await workers[Symbol.asyncDispose]();
  });
});
