// hot path: see ARCHITECTURE.md "Data plane"

import type { NbdRequest } from './request.ts';

/** What a request without data weighs: the memory that it takes itself. Bytes. */
const OVERHEAD = 256;

/**
 * Changes that the server has answered and that no flush has made durable yet. A server that dies may have forgotten
 * them: they are sent again, in the order of their answers, before anything new.
 */
export class ReplayWindow {
  #requests: NbdRequest[] = [];
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** In the order in which they were answered. */
  get requests(): readonly NbdRequest[] {
    return this.#requests;
  }

  /** Everything that is there now: what a flush that begins now covers. */
  get mark(): NbdRequest | undefined {
    return this.#requests.at(-1);
  }

  add(request: NbdRequest): void {
    this.#requests.push(request);
    this.#bytes += weightOf(request);
  }

  /** The changes up to `mark` are durable. */
  flushed(mark: NbdRequest | undefined): void {
    const count = mark === undefined ? 0 : this.#requests.indexOf(mark) + 1;
    for (let i = 0; i < count; i++) this.#bytes -= weightOf(this.#requests[i]!);
    this.#requests = this.#requests.slice(count);
  }
}

export function weightOf({ data }: NbdRequest): number {
  return OVERHEAD + (data?.length ?? 0);
}
