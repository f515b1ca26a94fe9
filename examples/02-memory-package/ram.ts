import { type BlockDevice, defineBackend, type IoVec, sizeSchema } from 'blockgate/plugin';
import { z } from 'zod';

/** Writes, and says so by having a method for it. The disk comes and goes with the process. */
class RamDisk implements BlockDevice {
  readonly info;
  readonly #data: Uint8Array;

  constructor(size: number) {
    this.#data = new Uint8Array(size);
    this.info = { size, caps: { concurrency: 'parallel', volatile: true } } as const;
  }

  read(offset: number, iov: IoVec): void {
    let at = offset;
    for (const segment of iov) {
      segment.set(this.#data.subarray(at, at + segment.length));
      at += segment.length;
    }
  }

  write(offset: number, iov: IoVec): void {
    let at = offset;
    for (const segment of iov) {
      this.#data.set(segment, at);
      at += segment.length;
    }
  }

  /** Cheaper than the zeros that core would otherwise write. */
  writeZeroes(offset: number, length: number): void {
    this.#data.fill(0, offset, offset + length);
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

export default defineBackend({
  name: 'ram',
  description: 'A RAM disk.',
  config: z.strictObject({
    size: sizeSchema({ min: 512, max: 2 ** 30, multipleOf: 512 }).meta({ description: 'Size of the disk.' }),
  }),
  open: async ({ size }) => new RamDisk(size),
});
