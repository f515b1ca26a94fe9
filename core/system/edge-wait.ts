import { closeSync } from 'node:fs';
import { orThrow } from './errno.ts';
import { addressOf } from './memory-map.ts';
import { errno, libc } from './native.ts';

const epollCreate1 = libc.func('int epoll_create1(int flags)');
const epollCtl = libc.func('int epoll_ctl(int epfd, int op, int fd, int64_t event)');
const epollWait = libc.func('int epoll_wait(int epfd, int64_t events, int max, int timeout)');

/** sys/epoll.h */
const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLLIN = 1;
const EPOLLET = 2 ** 31;
/** A struct epoll_event takes 12 bytes or 16, as the architecture has it. */
const EVENT_BYTES = 16;
const EVENTS = 8;

/**
 * Blocks this thread until one of a few eventfds is written to: epoll(7), edge-triggered, so that a wake-up takes one
 * system call and no read. For threads that have nothing else to do; the event loop stands still meanwhile.
 */
export class EdgeWait implements Disposable {
  readonly #fd: number;
  readonly #event = new Uint32Array(EVENT_BYTES / 4);
  readonly #eventAddress = addressOf(new Uint8Array(this.#event.buffer));
  readonly #events = new Uint8Array(EVENT_BYTES * EVENTS);
  readonly #eventsAddress = addressOf(this.#events);

  /** Throws `SystemError`. */
  constructor() {
    // SAFETY: no pointer.
    const fd = epollCreate1(EPOLL_CLOEXEC) as number;
    this.#fd = orThrow('epoll_create1', fd < 0 ? -errno() : fd);
  }

  /** Throws `SystemError`. */
  add(fd: number): void {
    this.#control('add', EPOLL_CTL_ADD, fd);
  }

  /** To be called before `fd` is closed. */
  remove(fd: number): void {
    this.#control('remove', EPOLL_CTL_DEL, fd);
  }

  /** Returns when something was written to one of the eventfds since the last call, or a signal arrived. */
  wait(): void {
    // SAFETY: the kernel writes at most EVENTS events within the call, to memory that this object holds.
    epollWait(this.#fd, this.#eventsAddress, EVENTS, -1);
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  #control(what: string, operation: number, fd: number): void {
    this.#event[0] = EPOLLIN + EPOLLET;
    // SAFETY: the kernel reads one struct within the call.
    const result = epollCtl(this.#fd, operation, fd, this.#eventAddress) as number;
    orThrow(`epoll_ctl ${what}`, result < 0 ? -errno() : result);
  }
}
