import type { OperationName } from './router.ts';

/** One request that the server has dealt with. */
export interface RequestRecord {
  /** Milliseconds since 1970, when it arrived. */
  readonly at: number;
  readonly method: string;
  /** Undefined when the request was none of the S3 API. */
  readonly operation: OperationName | undefined;
  readonly bucket: string | undefined;
  readonly key: string | undefined;
  /** HTTP status; undefined when no answer was sent. */
  readonly status: number | undefined;
  /** S3 error code; undefined on success. */
  readonly errorCode: string | undefined;
  /** Bytes of the request's body as it came, and of the response's. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Whether a fault was injected. */
  readonly faulted: boolean;
}

/** The latest requests, oldest first; older ones are forgotten. */
export class RequestLog {
  readonly #capacity: number;
  #records: RequestRecord[] = [];

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  add(record: RequestRecord): void {
    this.#records.push(record);
    // Cut in large steps: a shift per request would move the whole list each time.
    if (this.#records.length >= this.#capacity * 2) this.#records = this.#records.slice(-this.#capacity);
  }

  /** The records that agree with `filter` in every field it has. */
  find(filter: Partial<RequestRecord> = {}): RequestRecord[] {
    const wanted = Object.entries(filter) as [keyof RequestRecord, unknown][];
    return this.#records
      .slice(-this.#capacity)
      .filter((record) => wanted.every(([field, value]) => record[field] === value));
  }

  clear(): void {
    this.#records = [];
  }
}
