import { rmSync } from 'node:fs';
import { linux } from '../../core/system/libc.ts';
import { addressOf } from '../../core/system/memory-map.ts';
import { errno, libc } from '../../core/system/native.ts';

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const MSG_DONTWAIT = 0x40;

const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, int64_t address, uint32_t length)');
const recv = libc.func('int64_t recv(int fd, int64_t buffer, size_t length, int flags)');

/** A service manager's end of NOTIFY_SOCKET: a bound Unix datagram socket. */
export class DatagramReceiver implements Disposable {
  readonly #fd: number;
  readonly #address: string;
  readonly #buffer = new Uint8Array(4096);
  /** Everything that has come so far. */
  readonly received: string[] = [];
  #closed = false;

  /** A path, or `@name` in the abstract namespace. */
  constructor(address: string) {
    this.#address = address;
    this.#fd = socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0) as number;
    const path = new TextEncoder().encode(address.startsWith('@') ? `\0${address.slice(1)}` : `${address}\0`);
    const bytes = new Uint8Array(2 + path.length);
    bytes[0] = AF_UNIX;
    bytes.set(path, 2);
    if ((bind(this.#fd, addressOf(bytes), bytes.length) as number) < 0) throw new Error(`bind: ${errno()}`);
  }

  /** Takes what has come since the last call; returns everything. */
  receive(): string[] {
    while (!this.#closed) {
      const length = recv(this.#fd, addressOf(this.#buffer), this.#buffer.length, MSG_DONTWAIT) as number;
      if (length < 0) return this.received;
      this.received.push(new TextDecoder().decode(this.#buffer.subarray(0, length)));
    }
    return this.received;
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    linux.close(this.#fd);
    if (!this.#address.startsWith('@')) rmSync(this.#address, { force: true });
  }
}
