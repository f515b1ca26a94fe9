import { z } from 'zod';

/** What core itself knows of plugins.json. What stands in a backend, filter or frontend is its plugin's business. */

export const CONFIG_VERSION = 1;
export const DEFAULT_FRONTEND = 'vduse';

export const backendUse = z
  .looseObject({
    type: z
      .string()
      .min(1)
      .meta({ description: 'Name of the backend.', examples: ['s3', 'file'] }),
  })
  .meta({ description: 'Where the bytes are stored: "type" names the backend, the other keys are its own.' });

export const filterUse = z
  .looseObject({ type: z.string().min(1).meta({ description: 'Name of the filter.' }) })
  .meta({ description: 'A layer over the backend: "type" names the filter, the other keys are its own.' });

export const frontendUse = z
  .looseObject({
    type: z.string().min(1).default(DEFAULT_FRONTEND).meta({ description: 'Name of the frontend.' }),
  })
  .meta({ description: 'How the disk is presented: "type" names the frontend, the other keys are its own.' });

const diskSchema = z
  .strictObject({
    backend: backendUse,
    filters: z
      .array(filterUse)
      .default([])
      .meta({ description: 'Layers between the guest and the backend; the first is nearest the guest.' }),
    frontend: frontendUse.default({ type: DEFAULT_FRONTEND }),
    readOnly: z
      .boolean()
      .default(false)
      .meta({ description: 'Refuse writes; the store is opened read-only.' }),
    standby: z.boolean().default(false).meta({
      description:
        'Keep a second process loaded, which goes on at once when that of the disk dies; about 60 MB.',
    }),
  })
  .meta({ description: 'One disk: a frontend, filters and a backend.' });

export const diskName = z.string().regex(/^[a-z0-9][a-z0-9-]{0,30}$/, {
  error: 'a disk name has 1 to 31 lower-case letters, digits and hyphens, and starts with a letter or digit',
});

export const pluginSpec = z
  .string()
  .regex(/^(?:\.{0,2}\/.+|(?:@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*)$/, {
    error: 'a plugin is the name of an npm package, or a path that starts with "./", "../" or "/"',
  })
  .meta({ examples: ['@acme/blockgate-backend-ftp', './my-plugin.ts'] });

export const configSchema = z
  .strictObject({
    $schema: z
      .string()
      .optional()
      .meta({ description: 'Address of the JSON schema, for completion in editors.' }),
    version: z.literal(CONFIG_VERSION).meta({ description: 'Version of this file format.' }),
    plugins: z.array(pluginSpec).default([]).meta({
      description: 'Plugins beside the built-in ones: npm packages or local paths. Only these are loaded.',
    }),
    disks: z.record(diskName, diskSchema).meta({ description: 'The disks, by name.', examples: [{}] }),
  })
  .meta({ title: 'blockgate configuration', description: 'plugins.json: the disks that blockgate serves.' });
