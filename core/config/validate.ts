import type { ConfigSchema } from '../api/schema.ts';
import type { PluginUse } from './config.ts';
import { ConfigErrors } from './config-errors.ts';
import { errorsOfIssue, pathOf } from './issue.ts';
import { inputJsonSchema } from './json-shape.ts';
import { literalSecrets, withoutSecrets } from './literal-secret.ts';
import { toPointer } from './pointer.ts';

/**
 * The configuration of a plugin, checked and completed by the plugin's own schema. `subject` names it in messages:
 * `backend "s3" of disk "disk0"`. Throws `ConfigErrors`.
 */
export async function validateConfig<C>(
  schema: ConfigSchema<C>,
  use: PluginUse,
  subject: string,
): Promise<C> {
  const result = await schema['~standard'].validate(use.config);
  if (!result.issues) return result.value;
  const secrets = literalSecrets(use.config);
  const reported = new Set(secrets.map(({ path }) => toPointer(path)));
  const context = {
    subject: (path: readonly (string | number)[]) =>
      path.length === 0 ? subject : `${JSON.stringify(path.join('.'))} of ${subject}`,
    pointer: use.pointer,
    locator: use,
    value: use.config,
    schema: inputJsonSchema(schema),
    redact: (text: string) => withoutSecrets(text, secrets),
  };
  const errors = result.issues
    // A literal secret was reported when the file was read; what the plugin says about it may quote it.
    .filter((issue) => !reported.has(toPointer(pathOf(issue))))
    .flatMap((issue) => errorsOfIssue(issue, context));
  throw new ConfigErrors(errors);
}
