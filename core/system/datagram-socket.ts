import { orThrow } from './errno.ts';
import { linux } from './libc.ts';
import { addressOf } from './memory-map.ts';
import { errno, libc } from './native.ts';

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const SOL_SOCKET = 1;
const SO_SNDTIMEO = 21;
const MSG_NOSIGNAL = 0x4000;
/** `sun_path` of `struct sockaddr_un`, which follows two bytes of address family. */
const PATH_BYTES = 108;
/** How long a reader that does not read may keep this thread. */
const SEND_SECONDS = 2n;

const socket = libc.func('int socket(int domain, int type, int protocol)');
const setsockopt = libc.func('int setsockopt(int fd, int level, int name, int64_t value, uint32_t length)');
const sendto = libc.func(
  'int64_t sendto(int fd, int64_t buffer, size_t length, int flags, int64_t address, uint32_t size)',
);

/**
 * Sends datagrams to a Unix socket (unix(7)), which Node cannot. `@name` is an address in the abstract namespace,
 * anything else a path.
 */
export class DatagramSocket implements Disposable {
  readonly #fd: number;
  readonly #address: Uint8Array;

  /** Throws `SystemError`. Nobody needs to listen yet. */
  constructor(address: string) {
    this.#address = encode(address);
    // SAFETY: no pointer.
    this.#fd = checked('socket', socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0) as number);
    const timeout = new Uint8Array(new BigInt64Array([SEND_SECONDS, 0n]).buffer);
    // SAFETY: `timeout` is a `struct timeval`, referenced until the call returns; the kernel copies it.
    setsockopt(this.#fd, SOL_SOCKET, SO_SNDTIMEO, addressOf(timeout), timeout.length);
  }

  /** Throws `SystemError`: nobody listens, or does not read. */
  send(text: string): void {
    const bytes = new TextEncoder().encode(text);
    const { length } = this.#address;
    // SAFETY: both buffers are referenced until the call returns, and the lengths are their own.
    checked(
      'sendto',
      sendto(
        this.#fd,
        addressOf(bytes),
        bytes.length,
        MSG_NOSIGNAL,
        addressOf(this.#address),
        length,
      ) as number,
    );
  }

  [Symbol.dispose](): void {
    linux.close(this.#fd);
  }
}

/** `struct sockaddr_un`: an abstract name starts with a zero byte and ends with its length; a path ends with one. */
function encode(address: string): Uint8Array {
  const isAbstract = address.startsWith('@');
  const path = new TextEncoder().encode(isAbstract ? `\0${address.slice(1)}` : `${address}\0`);
  if (path.length > PATH_BYTES) throw new RangeError(`too long for an address of a Unix socket: ${address}`);
  const bytes = new Uint8Array(2 + path.length);
  new DataView(bytes.buffer).setUint16(0, AF_UNIX, true);
  bytes.set(path, 2);
  return bytes;
}

function checked(call: string, value: number): number {
  return orThrow(call, value < 0 ? -errno() : value);
}
