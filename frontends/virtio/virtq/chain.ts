// hot path: see ARCHITECTURE.md "Data plane"

/**
 * A descriptor chain, copied out of guest memory. One object serves every pop. Empty descriptors are left out.
 * The device-readable descriptors come first: [0, readable), the device-writable ones follow: [readable, count).
 */
export class Chain {
  /** Addresses; -1 for one of 2^53 or above, which no region holds. */
  readonly addr: Float64Array;
  /** Lengths in bytes; none is 0. */
  readonly len: Uint32Array;
  count = 0;
  readable = 0;
  readableBytes = 0;
  writableBytes = 0;
  /** What is wrong with the chain. It must still be given back. */
  defect: string | undefined;
  /** Address of the last byte the device may write, or -1: none, or the chain could not be followed to its end. */
  lastWritable = -1;

  /** `num`: entries of the queue, which is also how long a chain may be (VIRTIO 1.3, 2.7.5.3.1). */
  constructor(num: number) {
    this.addr = new Float64Array(num);
    this.len = new Uint32Array(num);
  }

  begin(): void {
    this.count = 0;
    this.readable = 0;
    this.readableBytes = 0;
    this.writableBytes = 0;
    this.defect = undefined;
    this.lastWritable = -1;
  }

  /** Appends a descriptor; the caller bounds their number. */
  add(addr: number, len: number, writable: boolean): void {
    if (len === 0) return;
    const index = this.count++;
    this.addr[index] = addr;
    this.len[index] = len;
    if (writable) {
      this.writableBytes += len;
      this.lastWritable = addr < 0 ? -1 : addr + len - 1;
      return;
    }
    if (this.readable !== index) {
      this.defect = 'a device-readable descriptor follows a device-writable one';
      this.lastWritable = -1;
    }
    this.readable = index + 1;
    this.readableBytes += len;
  }

  /** The chain cannot be followed any further: nothing in it is to be trusted. */
  fail(defect: string): void {
    this.defect = defect;
    this.lastWritable = -1;
  }
}
