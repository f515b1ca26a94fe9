import { z } from 'zod';
import { sizeSchema } from '../../core/plugin.ts';

export const fileConfig = z.strictObject({
  path: z
    .string()
    .min(1)
    .meta({
      description:
        'The regular file or block device that holds the bytes. Relative to the folder of plugins.json.',
      examples: ['disk0.img', '/dev/vg0/disk0'],
    }),
  size: sizeSchema({ min: 512, max: 2 ** 53 - 512 })
    .optional()
    .meta({
      description:
        'Size of the disk. A missing file is created with it, sparse; an existing one must have it. Default: the size of what is there.',
    }),
  create: z
    .boolean()
    .default(true)
    .meta({ description: 'Create the file when it is missing; needs "size".' }),
  direct: z.boolean().default(false).meta({
    description:
      'Bypass the page cache (O_DIRECT): steadier latency on fast disks, no caching in host memory.',
  }),
});

export type FileConfig = z.output<typeof fileConfig>;
