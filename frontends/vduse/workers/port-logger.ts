import type { LogFields, Logger } from '../../../core/api/logger.ts';
import { toWire } from '../../../core/util/wire-error.ts';
import type { FromWorker } from './worker-messages.ts';

type LogMessage = Extract<FromWorker, { type: 'log' }>;

/** The logger of a queue's thread: hands everything to the main thread, which has the log. */
export class PortLogger implements Logger {
  readonly #send: (message: LogMessage) => void;
  readonly #fields: LogFields;

  constructor(send: (message: LogMessage) => void, fields: LogFields = {}) {
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
    return new PortLogger(this.#send, { ...this.#fields, ...fields });
  }

  #log(level: LogMessage['level'], message: string, fields: LogFields = {}): void {
    const cloneable: Record<string, unknown> = {};
    for (const [key, value] of Object.entries({ ...this.#fields, ...fields }))
      cloneable[key] = value instanceof Error ? toWire(value) : value;
    this.#send({ type: 'log', level, message, fields: cloneable });
  }
}
