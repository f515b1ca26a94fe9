import type { Readable } from 'node:stream';
import type { IoVec } from '../../../core/plugin.ts';
import { fromSdk } from './sdk-error.ts';
import { StoreError } from './store-error.ts';

/**
 * Copies a response's body into `into` as it arrives: half the CPU time of collecting it first. Returns the bytes that
 * came, also those for which there was no room. The abort of `signal` ends it, since the SDK watches over a request
 * only until its headers are there; nothing is written to `into` after this has settled.
 */
export function receive(body: Readable, into: IoVec, signal?: AbortSignal): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  let received = 0;
  let segment = 0;
  let at = 0;
  const abort = () => body.destroy(new StoreError('timeout', 'the rest of an object did not come in time'));
  body.on('data', (data: Buffer) => {
    received += data.length;
    for (let from = 0; from < data.length && segment < into.length; ) {
      const target = into[segment]!;
      // Taken away in the middle of the body, by a reset that waited long enough.
      if (target.length < at) return;
      const count = Math.min(target.length - at, data.length - from);
      target.set(data.subarray(from, from + count), at);
      from += count;
      at += count;
      if (at < target.length) continue;
      segment++;
      at = 0;
    }
  });
  let ended = false;
  body.once('end', () => {
    ended = true;
    resolve(received);
  });
  body.once('error', (error) => reject(fromSdk(error)));
  body.once('close', () => {
    signal?.removeEventListener('abort', abort);
    if (!ended) reject(new StoreError('unreachable', 'the connection broke in the middle of an object'));
  });
  if (signal?.aborted) abort();
  else signal?.addEventListener('abort', abort, { once: true });
  return promise;
}
