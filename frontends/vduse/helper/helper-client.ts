import type { Readable, Writable } from 'node:stream';
import { GatewayError } from '../../../core/api/errors.ts';
import type { Holder } from '../../../core/api/frontend.ts';
import { fromWire } from '../../../core/util/wire-error.ts';
import type { DeviceAdmin, DeviceAttributes, DeviceShape } from '../device-admin.ts';
import type { InFlightQueues } from '../inflight-file.ts';
import type { Attachment } from '../outlet.ts';
import { jsonLines } from './json-lines.ts';
import { type Call, createCall, type Reply, type Request } from './protocol.ts';

/** Has a helper do what takes root: this process's end of `serveAdmin`. */
export class HelperClient implements DeviceAdmin {
  readonly #output: Writable;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #lastId = 0;
  #ended: Error | undefined;

  /** `input` comes from the helper, `output` goes there. Disposal ends `output`, and with it the helper. */
  constructor(input: Readable, output: Writable) {
    this.#output = output;
    // A helper that is gone is noticed by the end of what it says.
    output.on('error', () => {});
    void this.#receive(input);
  }

  loadModules(attach: Attachment): Promise<void> {
    return this.#call({ call: 'loadModules', attach });
  }

  create(shape: DeviceShape): Promise<string | undefined> {
    return this.#call(createCall(shape));
  }

  destroy(): Promise<'destroyed' | 'busy' | 'missing'> {
    return this.#call({ call: 'destroy' });
  }

  configure({ msgTimeout, bounceSize }: DeviceAttributes): Promise<void> {
    return this.#call({ call: 'configure', msgTimeout, bounceSize });
  }

  provideInFlight(queues: InFlightQueues & { readonly keep: boolean }): Promise<void> {
    const { queues: count, queueSize, keep } = queues;
    return this.#call({ call: 'provideInFlight', queues: count, queueSize, keep });
  }

  attach(attach: Attachment, signal: AbortSignal): Promise<void> {
    return this.#call({ call: 'attach', attach }, signal);
  }

  detach(signal: AbortSignal): Promise<void> {
    return this.#call({ call: 'detach' }, signal);
  }

  link(): Promise<string> {
    return this.#call({ call: 'link' });
  }

  unlink(): Promise<void> {
    return this.#call({ call: 'unlink' });
  }

  async holders(): Promise<readonly Holder[]> {
    // Without a helper nobody is in danger either: the disk cannot be taken away, and to say so is up to `detach`.
    if (this.#ended) return [];
    return this.#call({ call: 'holders' });
  }

  [Symbol.dispose](): void {
    this.#output.end();
  }

  /** Rejects at once with `signal`'s reason when it aborts; the next call waits until the helper has given up. */
  async #call<T>(request: Call, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    if (this.#ended) throw this.#ended;
    const id = ++this.#lastId;
    const reply = Promise.withResolvers<unknown>();
    this.#waiting.set(id, reply);
    const abort = () => {
      this.#send({ cancel: id });
      reply.reject(signal?.reason);
    };
    signal?.addEventListener('abort', abort, { once: true });
    try {
      this.#send({ id, request });
      // The helper is a part of blockgate and runs as root: what it answers is taken as it is.
      return (await reply.promise) as T;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  #send(message: Request): void {
    this.#output.write(`${JSON.stringify(message)}\n`);
  }

  async #receive(input: Readable): Promise<void> {
    let cause: unknown;
    try {
      for await (const line of jsonLines(input)) this.#settle(line as Reply);
    } catch (error) {
      cause = error;
    }
    this.#ended = helperEnded(cause);
    for (const reply of this.#waiting.values()) reply.reject(this.#ended);
    this.#waiting.clear();
  }

  #settle({ id, value, error }: Reply): void {
    const reply = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) reply?.reject(fromWire(error));
    else reply?.resolve(value);
  }
}

function helperEnded(cause: unknown): GatewayError {
  return new GatewayError(
    'vduse.helper-ended',
    'The process that does what takes root for this disk is gone.',
    {
      why: 'It crashed or was killed; its last words are in the log. The disk is served on, but cannot be detached.',
      fix: 'End the gateway’s process for this disk and start the disk again: the device is taken over as it is.',
      cause,
    },
  );
}
