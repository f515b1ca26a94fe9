import type { StandardJSONSchemaV1, StandardSchemaV1 } from '@standard-schema/spec';

/**
 * How a plugin describes its configuration: any object that implements Standard Schema (validation) and, for
 * completion in editors, Standard JSON Schema. zod 4 and arktype implement both.
 */
export interface ConfigSchema<C> {
  readonly '~standard': StandardSchemaV1<unknown, C>['~standard'] &
    Partial<Pick<StandardJSONSchemaV1['~standard'], 'jsonSchema'>>;
}
