import { z } from 'zod';
import { sizeSchema } from '../../core/util/config-types.ts';
import { VIRTIO_BLK_ID_BYTES } from '../virtio/abi/virtio-blk.ts';

const MAX_QUEUES = 64;
const MAX_QUEUE_SIZE = 1024;
const MIN_BOUNCE = 64 * 2 ** 20;
const MAX_BOUNCE = 2 ** 30;

/** Configuration of the vduse frontend in plugins.json. */
export const vduseConfig = z.strictObject({
  queues: z
    .int()
    .min(1)
    .max(MAX_QUEUES)
    .default(1)
    .meta({ description: 'Number of virtqueues. More than the machine has processors is no use.' }),
  queueSize: z
    .int()
    .min(2)
    .max(MAX_QUEUE_SIZE)
    .refine((value) => (value & (value - 1)) === 0, 'must be a power of two')
    .default(256)
    .meta({ description: 'Requests one virtqueue can hold; a power of two up to 1024.' }),
  spin: z.int().min(0).max(1000).default(50).meta({
    description:
      'Microseconds that the thread of a queue looks for the next request before it sleeps, while they follow each other closely. 0: never.',
  }),
  serial: z
    .string()
    .regex(/^[\x20-\x7e]*$/, 'must be printable ASCII')
    .max(VIRTIO_BLK_ID_BYTES)
    .optional()
    .meta({ description: 'Serial number that the disk reports, up to 20 characters. Default: its name.' }),
  msgTimeout: z.int().min(10).max(3600).default(120).meta({
    description: 'Seconds the kernel waits for an answer of the gateway before it gives the device up.',
  }),
  bounceSize: sizeSchema({ min: MIN_BOUNCE, max: MAX_BOUNCE, multipleOf: 4096 }).optional().meta({
    description:
      'Memory through which the kernel copies data, 64 MiB (the default) to 1 GiB. Worth more with many deep queues.',
  }),
});

export type VduseConfig = z.output<typeof vduseConfig>;
