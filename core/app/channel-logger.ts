import type { LogFields, Logger } from '../api/logger.ts';
import { isLogged, type LogLevel } from '../observe/log-level.ts';
import { toWire } from '../util/wire-error.ts';
import type { FromDisk } from './disk-messages.ts';

type LogMessage = Extract<FromDisk, { type: 'log' }>;

/** The logger of a disk's process: hands everything to the gateway, which has the one log. */
export class ChannelLogger implements Logger {
  readonly #threshold: LogLevel;
  readonly #send: (message: LogMessage) => void;
  readonly #fields: LogFields;

  constructor(threshold: LogLevel, send: (message: LogMessage) => void, fields: LogFields = {}) {
    this.#threshold = threshold;
    this.#send = send;
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
    return new ChannelLogger(this.#threshold, this.#send, { ...this.#fields, ...fields });
  }

  #log(level: LogMessage['level'], message: string, fields: LogFields = {}): void {
    if (!isLogged(level, this.#threshold)) return;
    this.#send({ type: 'log', level, message, fields: plain({ ...this.#fields, ...fields }) });
  }
}

/** As JSON will carry it: errors with their message and stack, bigints as text. Secrets print as `[secret]`. */
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
