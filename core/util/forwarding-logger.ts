import type { LogFields, Logger } from '../api/logger.ts';
import { toWire } from './wire-error.ts';

/** A line on its way to where the log is, as another process or thread can be sent it. */
export interface ForwardedLine {
  readonly level: 'error' | 'warn' | 'info' | 'debug';
  readonly message: string;
  readonly fields: LogFields;
}

/** The logger of a process or thread that is not the one with the log: hands each line to one function. */
export class ForwardingLogger implements Logger {
  readonly #forward: (line: ForwardedLine) => void;
  readonly #isLogged: (level: ForwardedLine['level']) => boolean;
  readonly #fields: LogFields;

  /** `isLogged`: of which levels; the others cost nothing. `fields`: of every line. */
  constructor(
    forward: (line: ForwardedLine) => void,
    isLogged: (level: ForwardedLine['level']) => boolean = () => true,
    fields: LogFields = {},
  ) {
    this.#forward = forward;
    this.#isLogged = isLogged;
    this.#fields = fields;
  }

  error(message: string, fields?: LogFields): void {
    this.#log('error', message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.#log('warn', message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.#log('info', message, fields);
  }

  debug(message: string, fields?: LogFields): void {
    this.#log('debug', message, fields);
  }

  child(fields: LogFields): Logger {
    return new ForwardingLogger(this.#forward, this.#isLogged, { ...this.#fields, ...fields });
  }

  #log(level: ForwardedLine['level'], message: string, fields: LogFields = {}): void {
    if (this.#isLogged(level))
      this.#forward({ level, message, fields: plain({ ...this.#fields, ...fields }) });
  }
}

/** As JSON carries it: errors with their message and stack, bigints as text. Secrets print as `[secret]`. */
function plain(fields: LogFields): LogFields {
  const replacer = (_key: string, value: unknown) => {
    if (value instanceof Error) return toWire(value);
    return typeof value === 'bigint' ? String(value) : value;
  };
  try {
    return JSON.parse(JSON.stringify(fields, replacer)) as LogFields;
  } catch (error) {
    // A circle, or a getter that throws: a log call must never bring the disk down.
    return { fields: `not printable: ${(error as Error).message}` };
  }
}
