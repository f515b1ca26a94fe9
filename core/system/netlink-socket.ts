import { constants } from 'node:os';
import { orThrow } from './errno.ts';
import { linux } from './libc.ts';
import { addressOf } from './memory-map.ts';
import { errno, libc } from './native.ts';

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NETLINK_GENERIC = 16;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
/** Replies of generic netlink fit a page; twice that is netlink's own advice. */
const RECEIVE_BYTES = 8192;

const socket = libc.func('int socket(int domain, int type, int protocol)');
const setsockopt = libc.func('int setsockopt(int fd, int level, int name, int64_t value, uint32_t length)');
const send = libc.func('int64_t send(int fd, int64_t buffer, size_t length, int flags)');
const recv = libc.func('int64_t recv(int fd, int64_t buffer, size_t length, int flags)');

/** A generic netlink socket. Blocks, the sending included: for a process that has nothing else to do. */
export class NetlinkSocket implements Disposable {
  readonly #fd: number;
  readonly #buffer = new Uint8Array(RECEIVE_BYTES);

  /** Throws `SystemError`. */
  constructor() {
    // SAFETY: no pointer.
    this.#fd = checked('socket', socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_GENERIC) as number);
    const on = new Uint8Array(new Int32Array([1]).buffer);
    for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK]) {
      // SAFETY: `on` is referenced until the call returns; the kernel copies its four bytes. Kernels without an
      // option refuse it and answer in the older, shorter form, which the decoder reads too.
      setsockopt(this.#fd, SOL_NETLINK, option, addressOf(on), on.length);
    }
  }

  /** Sends one message and returns the datagram that answers it. Throws `SystemError`. */
  request(message: Uint8Array): Uint8Array {
    // SAFETY: `message` is referenced until the call returns; the kernel has read it by then.
    checked('send', send(this.#fd, addressOf(message), message.length, 0) as number);
    for (;;) {
      // SAFETY: `#buffer` belongs to this object; its own length bounds what the kernel writes.
      const received = recv(this.#fd, addressOf(this.#buffer), this.#buffer.length, 0) as number;
      if (received < 0 && errno() === constants.errno.EINTR) continue;
      return this.#buffer.slice(0, checked('recv', received));
    }
  }

  [Symbol.dispose](): void {
    linux.close(this.#fd);
  }
}

function checked(call: string, value: number): number {
  return orThrow(call, value < 0 ? -errno() : value);
}
