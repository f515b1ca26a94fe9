import type { GatewayError } from '../api/errors.ts';

/** Everything that is wrong, rather than the first thing: one error per problem, in the order of the file. */
export class ConfigErrors extends AggregateError {
  declare readonly errors: GatewayError[];

  constructor(errors: readonly GatewayError[]) {
    super(errors, errors.map((error) => error.message).join(' '));
    this.name = 'ConfigErrors';
  }
}
