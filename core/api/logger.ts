/** What a plugin may log with. Messages are lower case; facts go into `fields`. */
export interface Logger {
  /** Somebody must act. */
  error(message: string, fields?: LogFields): void;
  /** Something will degrade. */
  warn(message: string, fields?: LogFields): void;
  /** Life cycle: started, attached, stopped. */
  info(message: string, fields?: LogFields): void;
  /** Protocol detail. Never per request. */
  debug(message: string, fields?: LogFields): void;
  child(fields: LogFields): Logger;
}

export type LogFields = Readonly<Record<string, unknown>>;
