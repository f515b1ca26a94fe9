import { z } from 'zod';
import { secretSchema, sizeSchema } from '../../core/plugin.ts';

export const MIN_CHUNK = 4096;
export const MAX_CHUNK = 1024 * 1024;
export const DEFAULT_CHUNK = 64 * 1024;
export const MAX_SHARDS = 1024;

const powerOfTwo = (value: number): boolean => Number.isInteger(Math.log2(value));

/** `host:port`, `[IPv6]:port`. */
export const ADDRESS = /^(?:\[([0-9a-fA-F:.]+)\]|([^:@[\]/\s]+)):(\d{1,5})$/;
const address = z.string().regex(ADDRESS, 'an address is host:port, or [IPv6 address]:port');

const tls = z
  .strictObject({
    ca: z.string().min(1).optional().meta({ description: 'PEM file with the authorities to trust.' }),
    cert: z.string().min(1).optional().meta({ description: 'PEM file with the certificate of this client.' }),
    key: z.string().min(1).optional().meta({ description: 'PEM file with the private key of it.' }),
    insecure: z
      .boolean()
      .default(false)
      .meta({ description: 'Accept any certificate. Whoever is in between can read and change the disk.' }),
  })
  .refine(({ cert, key }) => (cert === undefined) === (key === undefined), '"cert" and "key" belong together')
  .meta({ description: 'Connect with TLS.' });

const keys = z.strictObject({
  address: address
    .optional()
    .meta({ description: 'A single server: host and port.', examples: ['127.0.0.1:6379'] }),
  socket: z.string().min(1).optional().meta({ description: 'A single server: path of its Unix socket.' }),
  sentinels: z
    .strictObject({
      addresses: z.array(address).min(1).meta({ description: 'Some of the sentinels.' }),
      master: z.string().min(1).meta({ description: 'What the sentinels call the master.' }),
      password: secretSchema().optional(),
    })
    .optional()
    .meta({ description: 'Servers that sentinels watch: whichever is the master.' }),
  cluster: z
    .array(address)
    .min(1)
    .optional()
    .meta({ description: 'A cluster: some of its nodes.', examples: [['10.0.0.1:7000', '10.0.0.2:7000']] }),
  database: z
    .int()
    .min(0)
    .max(15)
    .default(0)
    .meta({ description: 'Number of the database; a cluster has only 0.' }),
  username: z.string().min(1).optional().meta({ description: 'User of the server’s ACL.' }),
  password: secretSchema().optional(),
  tls: tls.optional(),
  volume: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, '1 to 64 letters, digits, dots, "-" or "_"')
    .meta({ description: 'Name of the volume: every key of it has it.' }),
  size: sizeSchema({ min: 512, max: 2 ** 50, multipleOf: 512 })
    .optional()
    .meta({
      description:
        'Size of the volume. With it, a volume that is missing is created, unless the disk had it before.',
    }),
  chunkSize: sizeSchema({ min: MIN_CHUNK, max: MAX_CHUNK })
    .refine(powerOfTwo, 'must be a power of two')
    .optional()
    .meta({
      description: 'Bytes per key, a power of two, fixed when the volume is created. Default: 64KiB.',
    }),
  shards: z.int().min(1).max(MAX_SHARDS).refine(powerOfTwo, 'must be a power of two').optional().meta({
    description:
      'Parts that a cluster can have on different nodes, a power of two, fixed when the volume is created. Default: 64 in a cluster, else 1.',
  }),
  durability: z.enum(['memory', 'aof', 'replicated', 'aof+replicas']).optional().meta({
    description:
      'What a flush waits for. Default: "aof+replicas" when the server has replicas, else "aof". "memory", which survives no death of the server, has to be asked for.',
  }),
  replicas: z.int().min(1).max(16).default(1).meta({ description: 'Replicas that a flush waits for.' }),
  flushTimeout: z
    .number()
    .positive()
    .default(30)
    .meta({ description: 'Seconds after which a flush that the servers do not confirm fails.' }),
  window: sizeSchema({ min: 2 ** 20, max: 2 ** 30 })
    .prefault('64MiB')
    .meta({ description: 'Memory for writes that are not flushed: they are sent again after a failover.' }),
  giveUpAfter: z.number().positive().optional().meta({
    description: 'Seconds without a server until requests fail. Default: they wait for as long as it takes.',
  }),
});

/** Configuration of a `redis` backend in plugins.json. */
export const redisConfig = keys.superRefine((value, ctx) => {
  const { address: single, socket, sentinels, cluster } = value;
  const given = [single, socket, sentinels, cluster].filter((way) => way !== undefined).length;
  if (given !== 1)
    ctx.addIssue({ code: 'custom', message: 'needs one of "address", "socket", "sentinels" and "cluster"' });
  if (cluster !== undefined && value.database !== 0)
    ctx.addIssue({ code: 'custom', path: ['database'], message: 'a cluster has only database 0' });
});

export type RedisConfig = z.output<typeof redisConfig>;
