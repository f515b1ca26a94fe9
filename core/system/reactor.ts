import koffi from 'koffi';

/** `'error'`: POLLERR, or the fd cannot be polled any more; no further call follows. */
export type Readiness = 'readable' | 'error';

/** Ends the watching. To be disposed before the fd is closed: libuv aborts the process otherwise. */
export interface Watch extends Disposable {
  readonly fd: number;
}

/** Waits for file descriptors on behalf of this thread's event loop. */
export interface Reactor {
  /** Calls `onReady` whenever `fd` is readable, level-triggered: read until it is not. */
  watch(fd: number, onReady: (readiness: Readiness) => void): Watch;
}

/** The part of koffi.node.poll in use; its own declaration gives the callback the wrong arguments. */
type Poll = (
  fd: number,
  options: { readonly readable: true },
  callback: (status: number, events: unknown) => void,
) => { close(): void };
const poll = koffi.node.poll as unknown as Poll;

/** From Node 25 on, microtasks queued in a callback of koffi's wait for other activity; an immediate is enough. */
const LEAVES_MICROTASKS = Number.parseInt(process.versions.node, 10) > 24;

/**
 * Handles that nobody references are collected, and then silently stop. Holding each watch here makes its life end
 * with `dispose` and nothing else.
 */
const watches = new Set<Watch>();

class LoopWatch implements Watch {
  readonly fd: number;
  readonly #onReady: (readiness: Readiness) => void;
  readonly #handle: { close(): void };
  #open = true;

  constructor(fd: number, onReady: (readiness: Readiness) => void) {
    this.fd = fd;
    this.#onReady = onReady;
    // SAFETY: fd is open and pollable, which the callers of `watch` vouch for: libuv aborts otherwise.
    this.#handle = poll(fd, { readable: true }, (status) => this.#ready(status));
    watches.add(this);
  }

  #ready(status: number): void {
    if (!this.#open) return;
    try {
      this.#onReady(status < 0 ? 'error' : 'readable');
    } catch (error) {
      // koffi would swallow it. A callback that throws is a bug, and bugs end the process.
      setImmediate(() => {
        throw error;
      });
    }
    if (LEAVES_MICROTASKS) setImmediate(nothing);
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    watches.delete(this);
    // SAFETY: once only; koffi crashes on calls to a closed handle.
    this.#handle.close();
  }
}

function nothing(): void {}

/** The reactor of the event loop that runs this code: libuv, by koffi.node.poll. */
export const loopReactor: Reactor = {
  watch: (fd, onReady) => new LoopWatch(fd, onReady),
};
