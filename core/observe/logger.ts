import { pino } from 'pino';
import type { LogFields, Logger } from '../api/logger.ts';
import type { LogLevel } from './log-level.ts';
import { formatLogLine } from './log-line.ts';

export interface LoggerOptions {
  readonly level: LogLevel;
  /** `json`: one object a line, for journald and collectors. `text`: compact lines for a person. */
  readonly format: 'json' | 'text';
  /** Receives whole lines. */
  readonly write: (line: string) => void;
}

/** pino behind the five methods that the rest of the program knows. */
export function createLogger({ level, format, write }: LoggerOptions): Logger {
  const serializers = { error: pino.stdSerializers.errWithCause, cause: pino.stdSerializers.errWithCause };
  const formatters = { level: (label: string) => ({ level: label }) };
  const destination = { write: format === 'json' ? write : (line: string) => write(formatLogLine(line)) };
  return new PinoLogger(pino({ level, base: null, serializers, formatters }, destination));
}

class PinoLogger implements Logger {
  readonly #pino: pino.Logger;

  constructor(instance: pino.Logger) {
    this.#pino = instance;
  }

  error(message: string, fields: LogFields = {}): void {
    this.#pino.error(fields, message);
  }

  warn(message: string, fields: LogFields = {}): void {
    this.#pino.warn(fields, message);
  }

  info(message: string, fields: LogFields = {}): void {
    this.#pino.info(fields, message);
  }

  debug(message: string, fields: LogFields = {}): void {
    this.#pino.debug(fields, message);
  }

  child(fields: LogFields): Logger {
    return new PinoLogger(this.#pino.child(fields));
  }
}
