import { z } from 'zod';
import { durationSchema, secretSchema, sizeSchema } from '../../core/plugin.ts';
import { MAX_CHUNK_SIZE, MIN_CHUNK_SIZE } from './chunk/layout.ts';
import { encryptionConfig } from './encryption-config.ts';
import { COMPRESSIONS } from './log/frames/compression.ts';

const KEY_PREFIX = /^[^/\s](?:[^\s]*[^/\s])?$/;

const credentials = z
  .strictObject({
    accessKeyId: z
      .union([z.string().min(1), secretSchema()])
      .meta({ description: 'The access key id, or where to read it.' }),
    secretAccessKey: secretSchema(),
    sessionToken: secretSchema().optional(),
  })
  .meta({
    description:
      'Fixed credentials. Without them: the AWS chain (environment, shared files, SSO, container and instance roles).',
  });

const tls = z
  .strictObject({
    ca: z
      .string()
      .min(1)
      .optional()
      .meta({ description: 'PEM file with the certificate authorities to trust.' }),
    insecure: z
      .boolean()
      .default(false)
      .meta({ description: 'Accept any certificate. Whoever is in between can read and change the disk.' }),
  })
  .meta({ description: 'For https endpoints.' });

const journal = z
  .strictObject({
    path: z.string().min(1).meta({
      description:
        'A file, which is made, or a block device. On a disk that keeps what is synchronized to it.',
    }),
    size: sizeSchema({ min: 32 * 2 ** 20, max: 2 ** 40 })
      .prefault('256MiB')
      .meta({ description: 'Room for what the store does not have yet; when it is full, writes wait.' }),
  })
  .meta({ description: 'The journal of "flush": "local". Without encryption of its own.' });

const diskCache = z
  .strictObject({
    path: z
      .string()
      .min(1)
      .meta({
        description: 'A folder, made when it is missing. Disks of one machine may share one.',
        examples: ['/var/cache/blockgate/disk0'],
      }),
    size: sizeSchema({ min: 16 * 2 ** 20 }).meta({ description: 'The most it takes of its file system.' }),
  })
  .meta({
    description: 'Keeps what was read on a local disk, over restarts. Of the layouts "log" and "image".',
  });

const bootProfile = z
  .union([
    z.boolean(),
    z.strictObject({
      seconds: z
        .int()
        .min(1)
        .max(3600)
        .default(60)
        .meta({ description: 'For how long a guest boots, from its first read on.' }),
      record: z
        .boolean()
        .default(true)
        .meta({ description: 'Whether to record this boot for the next one.' }),
    }),
  ])
  .default(false)
  .meta({
    description:
      'true: record what the guest reads while it boots, and fetch that ahead at the next start. Or { "seconds": 60, "record": true }. Layout "log" only.',
  });

const price = () => z.number().min(0).exactOptional();

const prices = z
  .strictObject({
    put: price().meta({ description: 'For 1000 PUT or LIST requests.' }),
    get: price().meta({ description: 'For 1000 GET or HEAD requests.' }),
    delete: price().meta({ description: 'For 1000 DELETE requests.' }),
    storage: price().meta({ description: 'For a GiB that is stored for a month.' }),
    transferIn: price().meta({ description: 'For a GiB that is sent to the store.' }),
    transferOut: price().meta({ description: 'For a GiB that the store sends.' }),
  })
  .meta({
    description:
      'What the store charges, in dollars. Default: S3 Standard in us-east-1; with an "endpoint" that is not of AWS, nothing.',
  });

const keys = z.strictObject({
  bucket: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{1,62}$/i, 'a bucket name is 3 to 63 letters, digits, dots, "-" or "_"')
    .meta({ description: 'The bucket; it must exist.' }),
  prefix: z
    .string()
    .max(512)
    .regex(KEY_PREFIX, 'a prefix is not empty, has no spaces, and neither starts nor ends with "/"')
    .optional()
    .meta({
      description:
        'Where the volume lies in the bucket. One volume per prefix. Required, but for the layout "image".',
      examples: ['disks/vm1'],
    }),
  key: z
    .string()
    .min(1)
    .max(1024)
    .optional()
    .meta({
      description: 'Of the layout "image", instead of "prefix": the object that is the disk.',
      examples: ['images/debian.raw'],
    }),
  image: z
    .string()
    .min(1)
    .max(1024)
    .optional()
    .meta({
      description:
        'Layout "log": the object that the volume begins as, a raw disk in the same bucket, which is read and never changed. Fixed when the volume is created, checked afterwards.',
      examples: ['images/debian.raw'],
    }),
  format: z.literal('raw').optional().meta({
    description:
      'Of the layout "image", or with "image": the object is a raw disk, also where it begins as one of another format does.',
  }),
  size: sizeSchema({ min: 512, max: 2 ** 53 - 512, multipleOf: 512 })
    .optional()
    .meta({ description: 'Size of the disk: needed to create the volume, checked afterwards.' }),
  layout: z.enum(['log', 'chunk', 'image']).optional().meta({
    description:
      'How the volume is stored, fixed when it is created: "log" (default) or "chunk" (default with "chunkSize"). Or "image": no volume, but the object "key", read-only.',
  }),
  chunkSize: sizeSchema({ min: MIN_CHUNK_SIZE, max: MAX_CHUNK_SIZE })
    .refine((bytes) => Number.isInteger(Math.log2(bytes)), 'the chunk size is a power of two')
    .optional()
    .meta({
      description: 'Bytes per object of the layout "chunk", fixed when the volume is created. Default 1MiB.',
    }),
  compression: z.enum(COMPRESSIONS).optional().meta({
    description:
      'Of what is written from now on, layout "log" only. Default: what the volume was created with, or "none".',
  }),
  encryption: encryptionConfig.optional().meta({
    description:
      'The key of the volume, which is encrypted when it is created with one; layout "log" only: a "passphrase", a "keyFile" or a "keyCommand".',
  }),
  endpoint: z
    .url({ protocol: /^https?$/, error: 'an endpoint is an http:// or https:// URL' })
    .optional()
    .meta({ description: 'URL of the S3 service. Default: that of AWS for the region.' }),
  region: z
    .string()
    .min(1)
    .optional()
    .meta({ description: 'Default: that of the AWS profile, or us-east-1.' }),
  pathStyle: z.boolean().optional().meta({
    description: 'endpoint/bucket/key instead of bucket.endpoint/key. Default: with an endpoint, yes.',
  }),
  profile: z
    .string()
    .min(1)
    .optional()
    .meta({ description: 'Profile of the shared AWS configuration files.' }),
  credentials: credentials.optional(),
  tls: tls.optional(),
  writeBuffer: sizeSchema()
    .prefault('64MiB')
    .meta({ description: 'Memory for what is being written; of chunks, at least four are taken.' }),
  flush: z.enum(['remote', 'local']).default('remote').meta({
    description:
      'When a flush is answered: "remote", once the store has everything; "local", once the journal on this machine has (layout "log").',
  }),
  journal: journal.optional(),
  maxLagBytes: sizeSchema({ min: 2 ** 20 })
    .optional()
    .meta({
      description:
        'With "flush": "local": writes wait while more than this is in the journal only. Default: "writeBuffer".',
    }),
  maxLagMs: z.int().min(100).max(86_400_000).optional().meta({
    description:
      'With "flush": "local": writes wait while something older than this, in milliseconds, is in the journal only. Default: no limit.',
  }),
  readCache: sizeSchema().prefault('32MiB').meta({ description: 'Memory for what was read.' }),
  mapCache: sizeSchema().prefault('128MiB').meta({
    description:
      'Layout `log`: memory for where blocks are, 128 KiB for 64 MiB of the disk; what is not there is read when it is needed.',
  }),
  diskCache: diskCache.optional(),
  bootProfile,
  flatten: z.boolean().default(false).meta({
    description:
      'Of a clone, layout "log" only: copy what it has of its parent while the disk is in use, so that it needs it no more.',
  }),
  spaceAmplification: z.number().min(1.1).max(10).default(1.4).meta({
    description:
      'What a volume with the layout "log" may occupy for each byte in use, 1.1 to 10. Less means that more is copied.',
  }),
  retention: durationSchema({ min: 60_000, max: 366 * 86_400_000 })
    .prefault(0)
    .meta({
      description:
        'Layout "log": for how long the volume can be gone back to as it was, "24h" or "7d"; 0, the default: not at all. Seconds, or a number with s, min, h or d.',
      examples: ['24h', '7d'],
    }),
  prices: prices.optional(),
  maxRequests: z
    .int()
    .min(2)
    .max(256)
    .default(16)
    .meta({ description: 'Requests to the store at once. A quarter of them is never used by uploads.' }),
  hedge: z.boolean().default(true).meta({
    description:
      'Send a read again that takes longer than nearly all others; the first answer counts. At most 2 % more GETs.',
  }),
  requestTimeout: z
    .number()
    .positive()
    .max(3600)
    .default(20)
    .meta({ description: 'Seconds after which one request is given up and sent again.' }),
  giveUpAfter: z.number().positive().optional().meta({
    description: 'Seconds after which a request of the guest fails while the store is away. Default: never.',
  }),
  unsafeNoFence: z.boolean().default(false).meta({
    description:
      'Use a store without conditional writes. Two gateways on one volume then destroy it, and nothing stops them.',
  }),
});

type Keys = z.output<typeof keys>;
type Refuse = (key: keyof Keys, message: string) => void;

/** What is said of volumes, and not of images: an image is what it is. */
const OF_VOLUMES = [
  ...(['prefix', 'size', 'image', 'chunkSize', 'compression', 'encryption'] as const),
  ...(['journal', 'maxLagBytes', 'maxLagMs'] as const),
];

function checkImage(config: Keys, refuse: Refuse): void {
  for (const key of OF_VOLUMES)
    if (config[key] !== undefined) refuse(key, `"${key}" is for volumes, and the layout "image" is none`);
  if (config.flush === 'local') refuse('flush', 'an image is not written');
  if (config.retention > 0) refuse('retention', 'an image does not change');
  if (config.bootProfile !== false)
    refuse('bootProfile', '"bootProfile" is for volumes with the layout "log"');
  if (config.flatten) refuse('flatten', '"flatten" is for volumes with the layout "log"');
}

function checkVolume(config: Keys, refuse: Refuse): void {
  const { flush, journal: place, layout, chunkSize, image } = config;
  if (config.key !== undefined)
    refuse('key', '"key" is for the layout "image"; a volume begins as the object "image"');
  if (config.format !== undefined && image === undefined)
    refuse(
      'format',
      '"format" is for the layout "image", and for what is said to be the "image" of a volume',
    );
  const isChunk = layout === 'chunk' || (layout === undefined && chunkSize !== undefined);
  if (image !== undefined && isChunk) refuse('image', '"image" is for volumes with the layout "log"');
  if (config.retention > 0 && isChunk)
    refuse('retention', '"retention" is for volumes with the layout "log"');
  if (flush === 'local' && place === undefined)
    refuse('flush', '"local" needs a "journal": { "path": … } on this machine');
  if (flush === 'local' && isChunk) refuse('flush', '"local" is for volumes with the layout "log"');
  if (flush === 'remote')
    for (const key of ['journal', 'maxLagBytes', 'maxLagMs'] as const)
      if (config[key] !== undefined) refuse(key, `"${key}" is for "flush": "local"`);
}

/** Said beside what else is wrong, as of keys that are always required. */
const required = (key: 'prefix' | 'key', error: string) => ({
  path: [key],
  error,
  when: ({ value }: { readonly value: unknown }) => typeof value === 'object' && value !== null,
});

/** Configuration of an `s3` backend in plugins.json. */
export const s3Config = keys
  .refine(
    ({ layout, prefix }) => layout === 'image' || prefix !== undefined,
    required('prefix', 'a volume needs a "prefix": where it lies in the bucket'),
  )
  .refine(
    ({ layout, key }) => layout !== 'image' || key !== undefined,
    required('key', 'the layout "image" needs the "key" of an object'),
  )
  .superRefine((config, ctx) => {
    const check = config.layout === 'image' ? checkImage : checkVolume;
    check(config, (path, message) => ctx.addIssue({ code: 'custom', path: [path], message }));
  })
  // An image has its key for a prefix: by that it is called.
  .transform((config) => ({ ...config, prefix: (config.prefix ?? config.key)! }));

export type S3Config = z.output<typeof s3Config>;
