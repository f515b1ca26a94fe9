import { z } from 'zod';
import { sizeSchema } from '../../core/util/config-types.ts';
import { VIRTIO_BLK_ID_BYTES } from '../virtio/abi/virtio-blk.ts';

export const MAX_QUEUES = 64;
/** A request has at least three descriptors, and no chain may be longer than the queue. */
export const MIN_QUEUE_SIZE = 3;
export const MAX_QUEUE_SIZE = 1024;
/** What the kernel takes. Whether a request finds room in it depends on the queues: see bounce.ts. */
export const MIN_BOUNCE = 2 ** 20;
export const MAX_BOUNCE = 2 ** 30;
/** Seconds. */
export const MIN_MSG_TIMEOUT = 10;
export const MAX_MSG_TIMEOUT = 3600;

const isPowerOfTwo = (value: number): boolean => (value & (value - 1)) === 0;

const keys = z.strictObject({
  attach: z.enum(['host', 'vm']).default('host').meta({
    description:
      'Who gets the disk: "host", this machine, as /dev/vdX; "vm", a virtual machine on it, as /dev/vhost-vdpa-N.',
  }),
  queues: z
    .int()
    .min(1)
    .max(MAX_QUEUES)
    .default(1)
    .meta({ description: 'Number of virtqueues. More than the machine has processors is no use.' }),
  queueSize: z.int().min(MIN_QUEUE_SIZE).max(MAX_QUEUE_SIZE).default(256).meta({
    description: 'Requests one virtqueue can hold, up to 1024; of a split one, a power of two.',
  }),
  spin: z.int().min(0).max(1000).default(50).meta({
    description:
      'Microseconds that the thread of a queue looks for the next request before it sleeps, while they follow each other closely. 0: never.',
  }),
  ring: z.enum(['split', 'packed']).default('split').meta({
    description: 'Layout of the virtqueues. Drivers that know packed ones use them when they are offered.',
  }),
  eventIdx: z.boolean().default(true).meta({
    description: 'Lets driver and gateway say when they want to be notified next (EVENT_IDX).',
  }),
  indirect: z.boolean().default(true).meta({
    description:
      'Lets a request take one entry of a virtqueue, however many segments it has (INDIRECT_DESC).',
  }),
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
      'Memory through which the kernel copies data, 1 MiB to 1 GiB; 64 MiB when not given. Many deep queues want more; less needs a small queueSize.',
  }),
  umem: z.boolean().default(false).meta({
    description:
      'Uses memory of the gateway as bounce memory (UMEM): all of it is there from the start, and pinned, which takes a memory lock limit (RLIMIT_MEMLOCK) of bounceSize. For disks of this machine.',
  }),
});

/** Configuration of the vduse frontend in plugins.json. */
export const vduseConfig = keys
  .refine(({ ring, queueSize }) => ring === 'packed' || isPowerOfTwo(queueSize), {
    path: ['queueSize'],
    message: 'must be a power of two',
  })
  .refine(({ attach, umem }) => !umem || attach === 'host', {
    path: ['umem'],
    message:
      'is for disks of this machine: a virtual machine’s memory is used as it is, without bounce memory',
  });

export type VduseConfig = z.output<typeof vduseConfig>;
