import { sizeSchema } from 'blockgate/plugin';
import { z } from 'zod';

/** What stands beside "type" in plugins.json. The descriptions show up in editors. */
export const config = z.strictObject({
  path: z.string().min(1).meta({ description: 'The file. Relative to the folder of plugins.json.' }),
  size: sizeSchema({ min: 512, multipleOf: 512 }).meta({ description: 'Size of the disk.' }),
});

export type Config = z.output<typeof config>;
