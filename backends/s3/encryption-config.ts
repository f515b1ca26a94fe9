import { z } from 'zod';
import { secretSchema } from '../../core/plugin.ts';

const HOW =
  'the key is written { "passphrase": { "env": "NAME" } }, { "passphrase": { "file": "path" } }, { "keyFile": "path" } or { "keyCommand": ["program", "argument"] }';

/** What opens an encrypted volume: one of the three. */
export const encryptionConfig = z.union(
  [
    z.strictObject({ passphrase: secretSchema() }),
    z.strictObject({ keyFile: z.string().min(1) }),
    z.strictObject({ keyCommand: z.array(z.string().min(1)).min(1) }),
  ],
  { error: HOW },
);

export type EncryptionConfig = z.output<typeof encryptionConfig>;
