import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { ThreadPreload } from './worker-messages.ts';

/** Same folder, and `.ts` from source but `.js` once built. */
const MAIN = new URL(`./worker-main${extname(import.meta.url)}`, import.meta.url);

/** Threads that have loaded their code and serve no queue yet, by the number of the queue that they are for. */
const spares = new Map<number, Worker>();

/**
 * The thread of a virtqueue, in which `worker-main` waits for its settings: one that was loaded before, if there is one.
 * From a thread that ended meanwhile comes `exit` and no answer.
 */
export function takeThread(index: number): Worker {
  const spare = spares.get(index);
  spares.delete(index);
  if (spare === undefined) return startThread(index);
  spare.removeAllListeners('error').removeAllListeners('exit').ref();
  return spare;
}

/**
 * Starts threads, so that a disk that is needed at once need not wait for them. Settles when they have loaded their code,
 * and the volume's.
 */
export async function loadThreads(queues: number, volumeModule: string): Promise<void> {
  const loading: Promise<unknown>[] = [];
  for (let index = 0; index < queues; index++) {
    if (spares.has(index)) continue;
    const thread = startThread(index, { volumeModule });
    // They keep no process that has nothing else to do.
    thread.unref();
    spares.set(index, thread);
    const { promise, resolve } = Promise.withResolvers<void>();
    thread.once('message', resolve);
    // The thread that takes its place when it is needed says what is wrong.
    thread.once('error', () => spares.delete(index));
    thread.once('exit', () => {
      spares.delete(index);
      resolve();
    });
    loading.push(promise);
  }
  await Promise.all(loading);
}

/** Ends the threads that turned out not to be needed. */
export async function dropThreads(): Promise<void> {
  const threads = [...spares.values()];
  spares.clear();
  await Promise.all(threads.map((thread) => thread.terminate()));
}

function startThread(index: number, workerData: ThreadPreload = {}): Worker {
  return new Worker(MAIN, {
    workerData,
    execArgv: [],
    name: `queue ${index}`,
    // Descriptors that the thread got from system calls of its own are none that Node knows of: it would warn.
    trackUnmanagedFds: false,
  });
}
