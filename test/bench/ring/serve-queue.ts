import type { Volume } from '../../../core/api/device.ts';
import type { Logger } from '../../../core/api/logger.ts';
import { EdgeWait } from '../../../core/system/edge-wait.ts';
import { linux } from '../../../core/system/libc.ts';
import { loopReactor } from '../../../core/system/reactor.ts';
import {
  InFlightFile,
  provideInFlightFile,
  removeInFlightFile,
} from '../../../frontends/vduse/inflight-file.ts';
import { QueueServer } from '../../../frontends/vduse/workers/queue-server.ts';
import { type ToWorker, WorkerState } from '../../../frontends/vduse/workers/worker-messages.ts';
import { type OfferedRing, offeredFeatures } from '../../../frontends/virtio/blk/features.ts';
import { blkLimits } from '../../../frontends/virtio/blk/limits.ts';
import { RING_SIZE, RingKernel } from './ring-kernel.ts';

/** As the driver has it. */
const RING: OfferedRing = { layout: 'split', eventIdx: true, indirect: true };

/** Serves queue `index` as the thread of a VDUSE queue does (worker-main.ts), until the driver says stop. */
export async function serveQueue(
  index: number,
  volume: Volume,
  logger: Logger,
  spinUs: number,
): Promise<void> {
  const kernel = new RingKernel(index);
  const state = new Int32Array(new SharedArrayBuffer(WorkerState.BYTES));
  const stopped = Promise.withResolvers<void>();
  using epoll = new EdgeWait();
  const path = `/dev/shm/blockgate-bench-${process.pid}-${index}`;
  const logs = { queues: index + 1, queueSize: RING_SIZE };
  provideInFlightFile(path, { ...logs, keep: false });
  using inFlight = new InFlightFile({ syscalls: linux, path, ...logs });
  // Mapped is all it has to be.
  removeInFlightFile(path);
  const server = new QueueServer({
    index,
    device: kernel.device,
    syscalls: kernel.syscalls,
    reactor: loopReactor,
    sleep: {
      add: (fd) => epoll.add(fd),
      remove: (fd) => epoll.remove(fd),
      wait: () => {
        // The event loop may have taken the last kick.
        if (!kernel.stopped) epoll.wait();
        if (!kernel.stopped) return;
        Atomics.store(state, WorkerState.ENDING, 1);
        stopped.resolve();
      },
    },
    logger,
    volume,
    limits: blkLimits(volume.caps, volume.limits, RING_SIZE),
    serial: 'bench',
    spinUs,
    inFlight,
    grow: () => Promise.resolve(),
    state,
    onBroken: (error) => {
      throw error;
    },
  });
  const tell = async (message: ToWorker): Promise<void> => {
    Atomics.add(state, WorkerState.SENT, 1);
    await server.receive(message);
  };
  await tell({
    type: 'open',
    id: 0,
    features: offeredFeatures(volume.caps, RING),
    info: kernel.queue,
    asid: 0,
  });
  await tell({ type: 'resume' });
  await stopped.promise;
  await tell({ type: 'close', id: 1 });
}
