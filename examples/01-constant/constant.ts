import { defineBackend, sizeSchema } from 'blockgate/plugin';
import { z } from 'zod';

/** The smallest backend there is: no `write`, so the disk is read-only; every byte of it is the same. */
export default defineBackend({
  name: 'constant',
  description: 'A read-only disk on which every byte is the same.',
  config: z.strictObject({
    size: sizeSchema({ min: 512, multipleOf: 512 }).meta({ description: 'Size of the disk.' }),
    byte: z.int().min(0).max(255).default(0x42).meta({ description: 'The byte, 0 to 255.' }),
  }),
  open: async ({ size, byte }) => ({
    info: { size, caps: { concurrency: 'parallel' } },
    read: (_offset, iov) => {
      for (const segment of iov) segment.fill(byte);
    },
    [Symbol.asyncDispose]: async () => {},
  }),
});
