// hot path: see ARCHITECTURE.md "Data plane"

import type { OnReadOpts, Socket } from 'node:net';

/** What arrives is looked at in pieces of this, and what is left of a large read goes where it belongs. Bytes. */
const SCRATCH = 64 * 1024;

/** Who takes what a socket receives, at once: the memory is used again. */
export interface Receiver {
  /** Memory that is to be filled next, or undefined when what comes has to be looked at first. */
  readonly destination: Uint8Array | undefined;
  take(bytes: Buffer): void;
  /** So many bytes of `destination` are there. */
  arrived(length: number): void;
}

/**
 * Receives into memory of our choice, in place of buffers that Node.js makes anew for each piece: for sockets without TLS,
 * which gives out what it has decrypted in buffers of its own. Until somebody receives, the socket has "data" events as usual.
 */
export class Inbox {
  readonly #scratch = Buffer.allocUnsafeSlow(SCRATCH);
  #socket: Socket | undefined;
  #receiver: Receiver | undefined;

  /** For `net.connect`. */
  readonly onread: OnReadOpts = {
    buffer: () => this.#receiver?.destination ?? this.#scratch,
    callback: (length, memory) => {
      if (this.#receiver === undefined) this.#socket!.emit('data', Buffer.from(memory.subarray(0, length)));
      else if (memory === this.#scratch) this.#receiver.take(this.#scratch.subarray(0, length));
      else this.#receiver.arrived(length);
      return true;
    },
  };

  /** The socket that was made with `onread`. */
  set socket(socket: Socket) {
    this.#socket = socket;
  }

  /** From now on everything is the receiver's. */
  set receiver(receiver: Receiver) {
    this.#receiver = receiver;
  }
}
