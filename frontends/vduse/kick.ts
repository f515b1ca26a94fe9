import { orThrow } from '../../core/system/errno.ts';
import type { Reactor, Watch } from '../../core/system/reactor.ts';
import type { Syscalls } from '../../core/system/syscalls.ts';

/** The eventfd by which the driver says that a queue has something new. */
export class Kick implements Disposable {
  readonly fd: number;
  readonly #syscalls: Syscalls;
  readonly #watch: Watch;
  readonly #counter = new Uint8Array(8);

  /** Throws `SystemError`. */
  constructor(syscalls: Syscalls, reactor: Reactor, onKick: () => void) {
    this.fd = orThrow('eventfd', syscalls.eventfd());
    this.#syscalls = syscalls;
    this.#watch = reactor.watch(this.fd, () => {
      // One read resets the counter, however many kicks it holds.
      syscalls.read(this.fd, this.#counter);
      onKick();
    });
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
    this.#syscalls.close(this.fd);
  }
}
