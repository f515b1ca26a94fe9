import { z } from 'zod';
import { sizeSchema } from '../../core/util/config-types.ts';
import { VIRTIO_BLK_ID_BYTES } from '../virtio/abi/virtio-blk.ts';

export const MAX_QUEUES = 64;
const MAX_QUEUE_SIZE = 1024;
export const MIN_BOUNCE = 64 * 2 ** 20;
export const MAX_BOUNCE = 2 ** 30;
/** Seconds. */
export const MIN_MSG_TIMEOUT = 10;
export const MAX_MSG_TIMEOUT = 3600;

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
  serial: z
    .string()
    .regex(/^[\x20-\x7e]*$/, 'must be printable ASCII')
    .max(VIRTIO_BLK_ID_BYTES)
    .optional()
    .meta({ description: 'Serial number that the disk reports, up to 20 characters. Default: its name.' }),
  msgTimeout: z.int().min(MIN_MSG_TIMEOUT).max(MAX_MSG_TIMEOUT).default(120).meta({
    description: 'Seconds the kernel waits for an answer of the gateway before it gives the device up.',
  }),
  bounceSize: sizeSchema({ min: MIN_BOUNCE, max: MAX_BOUNCE, multipleOf: 4096 }).optional().meta({
    description:
      'Memory through which the kernel copies data, 64 MiB (the default) to 1 GiB. Worth more with many deep queues.',
  }),
});

export type VduseConfig = z.output<typeof vduseConfig>;
