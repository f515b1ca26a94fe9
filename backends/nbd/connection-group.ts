// hot path: see ARCHITECTURE.md "Data plane"

import type { NbdConnection } from './connection.ts';
import type { ExportInfo } from './export-info.ts';
import type { NbdRequest } from './request.ts';

/**
 * Connections to one export that are used, and lost, as one. More than one only where the server says that a flush on
 * any of them covers what it has answered on all (NBD_FLAG_CAN_MULTI_CONN).
 */
export class ConnectionGroup implements Disposable {
  readonly info: ExportInfo;
  /** Settles when one of them is of no use any more: then none is. */
  readonly lost: Promise<Error>;
  readonly #connections: readonly NbdConnection[];
  #next = 0;
  #sequence = 0;

  /** At least one, all with the same facts. */
  constructor(connections: readonly NbdConnection[]) {
    this.#connections = connections;
    this.info = connections[0]!.info;
    this.lost = Promise.race(connections.map(({ lost }) => lost));
  }

  get size(): number {
    return this.#connections.length;
  }

  /** Those that were not answered, oldest first. */
  get unanswered(): NbdRequest[] {
    return this.#connections
      .flatMap((connection) => connection.unanswered)
      .sort((a, b) => a.sequence - b.sequence);
  }

  send(request: NbdRequest): void {
    request.sequence = this.#sequence++;
    const connection = this.#connections[this.#next]!;
    this.#next = (this.#next + 1) % this.#connections.length;
    connection.send(request);
  }

  [Symbol.dispose](): void {
    for (const connection of this.#connections) connection[Symbol.dispose]();
  }
}
