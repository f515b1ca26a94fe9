import { setImmediate as turn } from 'node:timers/promises';
import { orThrow } from '../../../core/system/errno.ts';
import { linux } from '../../../core/system/libc.ts';
import { BlkQueue } from '../../../frontends/virtio/blk/queue.ts';
import type { BlkQueueOptions } from '../../../frontends/virtio/blk/queue-options.ts';
import type { DriverMemory } from './driver-memory.ts';

/** Serves one queue until the driver says stop: blocks on the kick whenever there is nothing to do. */
export async function serveQueue(
  options: Omit<BlkQueueOptions, 'notify' | 'schedule'>,
  memory: DriverMemory,
): Promise<void> {
  const kick = memory.kickFd(options.index);
  const interrupt = memory.interruptFd(options.index);
  const one = new Uint8Array(new BigUint64Array([1n]).buffer);
  const counter = new Uint8Array(8);
  let continuation: (() => void) | undefined;
  const queue = new BlkQueue({
    ...options,
    notify: () => void orThrow('write', linux.write(interrupt, one)),
    schedule: (fn) => {
      continuation = fn;
    },
  });
  while (!memory.stopped) {
    queue.process();
    while (continuation !== undefined) {
      const next: () => void = continuation;
      continuation = undefined;
      next();
    }
    // Completions of io_uring arrive by the event loop; microtasks run here in any case.
    if (queue.inFlight > 0) await turn();
    else await undefined;
    if (queue.inFlight === 0) orThrow('read', linux.read(kick, counter));
  }
  queue.stop();
  await queue.drain();
}
