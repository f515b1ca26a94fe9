import { writeFileSync } from 'node:fs';
import { z } from 'zod';
import { config } from './config.ts';

/** Part of "npm run build": with the schema beside it, blockgate knows the configuration without running the plugin. */
const schema = z.toJSONSchema(config, { io: 'input', target: 'draft-07' });
writeFileSync(
  new URL('../dist/config.schema.json', import.meta.url),
  `${JSON.stringify(schema, undefined, 2)}\n`,
);
