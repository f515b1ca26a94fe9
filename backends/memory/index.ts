import { z } from 'zod';
import {
  type BlockDevice,
  copyIn,
  copyOut,
  defineBackend,
  iovLength,
  sizeSchema,
} from '../../core/plugin.ts';

const config = z.strictObject({
  size: sizeSchema({ min: 512, max: 4 * 2 ** 30, multipleOf: 512 }).meta({
    description: 'Size of the disk; all of it is memory of the gateway.',
  }),
});

function memoryDevice(size: number): BlockDevice {
  const data = new Uint8Array(size);
  return {
    info: { size, caps: { concurrency: 'parallel', volatile: true } },
    read: (offset, iov) => copyIn(iov, data.subarray(offset, offset + iovLength(iov))),
    write: (offset, iov) => copyOut(iov, data.subarray(offset, offset + iovLength(iov))),
    writeZeroes: (offset, length) => void data.fill(0, offset, offset + length),
    discard: (offset, length) => void data.fill(0, offset, offset + length),
    [Symbol.asyncDispose]: async () => {},
  };
}

export default defineBackend({
  name: 'memory',
  description: 'A disk in memory; its content ends with the process.',
  config,
  open: async ({ size }) => memoryDevice(size),
});
