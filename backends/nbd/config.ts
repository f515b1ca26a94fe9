import { z } from 'zod';
import { secretSchema, sizeSchema } from '../../core/plugin.ts';
import { parseNbdUri } from './uri.ts';

const pem = (what: string) =>
  z
    .string()
    .min(1)
    .optional()
    .meta({ description: `PEM file with ${what}.` });

const tls = z
  .strictObject({
    ca: pem('the certificate authorities to trust; default: those of Node.js'),
    cert: pem('the certificate of this client, where the server wants one'),
    key: pem('the private key of that certificate'),
    hostname: z
      .string()
      .min(1)
      .optional()
      .meta({ description: 'Name that the certificate of the server has to have. Default: the host.' }),
    insecure: z
      .boolean()
      .default(false)
      .meta({ description: 'Accept any certificate. Whoever is in between can read and change the disk.' }),
    psk: z
      .strictObject({ username: z.string().min(1), key: secretSchema() })
      .optional()
      .meta({ description: 'A key that both sides know, hexadecimal, instead of certificates.' }),
  })
  .refine(({ cert, key }) => (cert === undefined) === (key === undefined), '"cert" and "key" belong together')
  .meta({ description: 'For nbds: and nbds+unix: URIs.' });

/** Configuration of an `nbd` backend in plugins.json. */
export const nbdConfig = z.strictObject({
  uri: z
    .string()
    .superRefine((text, ctx) => {
      const problem = parseNbdUri(text);
      if (typeof problem === 'string') ctx.addIssue({ code: 'custom', message: problem });
    })
    .meta({
      description: 'The export.',
      examples: [
        'nbd://10.0.0.5/disk0',
        'nbds://nbd.example/disk0',
        'nbd+unix:///disk0?socket=/run/nbd.sock',
      ],
    }),
  connections: z.int().min(1).max(16).default(1).meta({
    description:
      'Connections at a time, where the server keeps several consistent (CAN_MULTI_CONN); else one.',
  }),
  tls: tls.optional(),
  window: sizeSchema({ min: 2 ** 20, max: 2 ** 30 })
    .prefault('64MiB')
    .meta({
      description:
        'Memory for writes that the server has answered and not flushed: they are sent again after a reconnection.',
    }),
  giveUpAfter: z.number().positive().optional().meta({
    description:
      'Seconds without a connection until requests fail. Default: they wait for as long as it takes.',
  }),
});

export type NbdConfig = z.output<typeof nbdConfig>;
