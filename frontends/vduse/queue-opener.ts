import { availableParallelism } from 'node:os';
import type { MaybePromise } from '../../core/api/device.ts';
import type { QueueInfo } from './device.ts';
import type { QueueHost } from './queue-host.ts';
import { QueueSet, type QueueSetContext } from './queue-set.ts';
import { QueueWorkers } from './workers/queue-workers.ts';

/** Sets up the virtqueues that a driver has made ready. */
export type OpenQueues = (features: bigint, infos: readonly QueueInfo[]) => MaybePromise<QueueHost>;

export interface QueueOpenerOptions extends Omit<QueueSetContext, 'spinUs'> {
  /** Virtqueues of the device. */
  readonly queues: number;
  /** Microseconds that a queue's thread may look at an empty ring. */
  readonly spin: number;
}

/**
 * Where the virtqueues of a disk are served: each in a thread of its own when its volume can be opened there, else
 * all of them by this thread's event loop, which the volume's own I/O needs. `owned` ends the threads.
 */
export async function queueOpener(
  owned: AsyncDisposableStack,
  options: QueueOpenerOptions,
): Promise<OpenQueues> {
  const { device, volume, queues, limits, serial, logger, onBroken } = options;
  if (volume.perThread === undefined) {
    return (features, infos) => new QueueSet({ ...options, spinUs: 0 }, features, infos);
  }
  const workers = owned.use(
    await QueueWorkers.start(queues, {
      device: { fd: device.fd, name: device.name },
      volume: volume.perThread,
      limits,
      serial,
      spinUs: spinLimit(options),
      logger,
      onBroken,
    }),
  );
  return (features, infos) => workers.open(features, infos);
}

/** A thread that spins must leave a processor to the driver. */
function spinLimit({ spin, queues }: QueueOpenerOptions): number {
  return queues < availableParallelism() ? spin : 0;
}
