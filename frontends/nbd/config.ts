import { z } from 'zod';
import { NBD_MAX_STRING_SIZE } from '../../core/nbd/protocol.ts';
import { secretSchema } from '../../core/util/config-types.ts';
import { parseAddress } from './address.ts';

const tls = z
  .strictObject({
    cert: z.string().min(1).optional().meta({ description: 'PEM file with the certificate of this server.' }),
    key: z.string().min(1).optional().meta({ description: 'PEM file with the private key of it.' }),
    ca: z.string().min(1).optional().meta({
      description: 'PEM file with authorities: only clients with a certificate of theirs are let in.',
    }),
    psk: z
      .strictObject({ username: z.string().min(1), key: secretSchema() })
      .optional()
      .meta({ description: 'A key that both sides know, hexadecimal, instead of certificates.' }),
  })
  .refine(
    ({ cert, key, ca, psk }) =>
      psk === undefined ? cert !== undefined && key !== undefined : (cert ?? key ?? ca) === undefined,
    'needs "cert" and "key", or "psk" without them',
  )
  .meta({ description: 'Only clients that use TLS are let in.' });

const keys = z.strictObject({
  socket: z
    .string()
    .min(1)
    .optional()
    .meta({ description: 'Path of a Unix socket. Default: "nbd.sock" in the folder of the disk’s state.' }),
  mode: z
    .string()
    .regex(/^0?[0-7]{3}$/, 'three octal digits, such as "660"')
    .default('600')
    .meta({ description: 'Who may connect to the Unix socket, as the permissions of a file.' }),
  listen: z
    .string()
    .superRefine((text, ctx) => {
      const problem = parseAddress(text);
      if (typeof problem === 'string') ctx.addIssue({ code: 'custom', message: problem });
    })
    .optional()
    .meta({
      description: 'Address and port to listen on, in place of a Unix socket.',
      examples: ['127.0.0.1:10809', '[::1]:10809'],
    }),
  exportName: z
    .string()
    .refine((name) => Buffer.byteLength(name) <= NBD_MAX_STRING_SIZE, 'at most 4096 bytes')
    .optional()
    .meta({
      description: 'Name of the export; the default export is the same one. Default: that of the disk.',
    }),
  connections: z.int().min(1).max(1024).default(16).meta({ description: 'Most connections at a time.' }),
  tls: tls.optional(),
  insecure: z.boolean().default(false).meta({
    description: 'Listen beyond this machine without TLS: whoever gets there can read and change the disk.',
  }),
});

/** Configuration of the nbd frontend in plugins.json. */
export const nbdServerConfig = keys.superRefine(({ socket, listen, tls: secured, insecure }, ctx) => {
  if (listen === undefined) return;
  if (socket !== undefined)
    ctx.addIssue({ code: 'custom', path: ['socket'], message: 'cannot be given together with "listen"' });
  const address = parseAddress(listen);
  if (typeof address === 'string' || address.isLocal || secured !== undefined || insecure) return;
  ctx.addIssue({
    code: 'custom',
    path: ['listen'],
    message: 'can be reached from other machines: configure "tls", or say "insecure": true',
  });
});

export type NbdServerConfig = z.output<typeof nbdServerConfig>;
