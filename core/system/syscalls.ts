/** Flags of `open`, as on x86-64 and arm64. */
export const O_RDWR = 0o2;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;

/** A shared mapping of a file or device: one ArrayBuffer that can be taken away from everybody at once. */
export interface SharedMapping {
  /** Exactly the bytes asked for. Length 0 after `detach`. */
  readonly buffer: ArrayBuffer;
  /**
   * True when bytes [offset, offset + length) can be touched, and makes their pages present. False where touching one
   * would raise SIGBUS: past the end of a file, or where a driver has not provided the page.
   */
  probe(offset: number, length: number): boolean;
  /**
   * Ends every use by JavaScript, and every use by system calls that still know the address: they fail with EFAULT.
   * The addresses stay taken until `unmap`.
   */
  detach(): void;
  /** Detaches and gives the addresses back: nothing may hold one any more, io_uring requests included. */
  unmap(): void;
}

/**
 * The system calls of a frontend. An interface, so that tests can put a scripted kernel behind it.
 *
 * As in the kernel's own ABI, a negative result is minus the errno: EAGAIN and the like are ordinary outcomes, and an
 * exception for each would cost more than the call. `orThrow` makes one where it is not ordinary.
 */
export interface Syscalls {
  open(path: string, flags: number): number;
  close(fd: number): number;
  /** Reads at most `buffer.length` bytes; returns how many. */
  read(fd: number, buffer: Uint8Array): number;
  write(fd: number, buffer: Uint8Array): number;
  /** `argument`: the struct the request reads or writes, or undefined where it takes none. */
  ioctl(fd: number, request: number, argument: Uint8Array | undefined): number;
  /** A new eventfd, non-blocking and close-on-exec. */
  eventfd(): number;
  /** A new file in memory of `length` bytes that nobody can make shorter, close-on-exec. */
  memfd(length: number): number;
  /** How many bytes this process may pin; raised to `bytes` before where that is possible. */
  raiseMemoryLock(bytes: number): number;
  /** Shared mapping of bytes [offset, offset + length) of `fd`; `offset` page granular. Throws `SystemError`. */
  mmap(fd: number, offset: number, length: number, prot: number): SharedMapping;
}
