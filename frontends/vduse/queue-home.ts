import { availableParallelism } from 'node:os';
import type { MaybePromise } from '../../core/api/device.ts';
import type { QueueInfo } from './device.ts';
import type { OwnBounce } from './own-bounce.ts';
import type { QueueHost } from './queue-host.ts';
import { QueueSet, type QueueSetContext } from './queue-set.ts';
import { dropThreads } from './workers/queue-threads.ts';
import { QueueWorkers } from './workers/queue-workers.ts';

/** Sets up the virtqueues that a driver has made ready. */
export type OpenQueues = (
  features: bigint,
  infos: readonly QueueInfo[],
  /** Address space of the queues. */
  asid: number,
) => MaybePromise<QueueHost>;

/** Where the virtqueues of a disk are served. */
interface QueueHome {
  readonly open: OpenQueues;
  /** Every thread takes note of how large the volume has become. */
  grow(): Promise<void>;
}

export interface QueueHomeOptions extends Omit<QueueSetContext, 'spinUs'> {
  /** Virtqueues of the device. */
  readonly queues: number;
  readonly queueSize: number;
  /** Microseconds that a queue's thread may look at an empty ring. */
  readonly spin: number;
  /** What takes the place of the kernel's bounce memory. */
  readonly bounce?: OwnBounce | undefined;
}

/**
 * Decides where the virtqueues of a disk are served: each in a thread of its own when its volume can be opened there, else
 * all of them by this thread's event loop, which the volume's own I/O needs. `owned` ends the threads.
 */
export async function queueHome(owned: AsyncDisposableStack, options: QueueHomeOptions): Promise<QueueHome> {
  const { device, volume, queues, queueSize, limits, inFlight, serial, logger, onBroken, bounce } = options;
  // Writes that this process alone has are to be counted in one place.
  if (volume.perThread === undefined || volume.caps.writeCache === 'process') {
    await dropThreads();
    const context = { ...options, spinUs: 0 };
    return {
      open: (features, infos, asid) => new QueueSet(context, features, infos, asid, bounce?.file()),
      grow: async () => {},
    };
  }
  const workers = owned.use(
    await QueueWorkers.start(queues, {
      device: { fd: device.fd, name: device.name },
      volume: volume.perThread,
      limits,
      inFlight: { path: inFlight.path, queues, queueSize },
      serial,
      spinUs: spinLimit(options),
      logger,
      onBroken,
    }),
  );
  return {
    open: (features, infos, asid) => workers.open(features, infos, asid, bounce?.file()),
    grow: () => workers.grow(),
  };
}

/** A thread that spins must leave a processor to the driver. */
function spinLimit({ spin, queues }: QueueHomeOptions): number {
  return queues < availableParallelism() ? spin : 0;
}
