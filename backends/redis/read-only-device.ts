import {
  type BlockDevice,
  BlockError,
  backoffMs,
  copyIn,
  fillZero,
  type IoVec,
  iovLength,
  settleAll,
  sleep,
} from '../../core/plugin.ts';
import { chunkLost } from './change.ts';
import { checkedRead } from './checked-read.ts';
import type { RedisClients } from './clients.ts';
import { isReply, requestError } from './errors.ts';
import type { VolumeRecord } from './volume-record.ts';

const RETRY = { baseMs: 50, maxMs: 2_000 } as const;

/** A volume that another gateway may be writing to: the server is asked for everything. Disposal ends `clients`. */
export function readOnlyDevice(
  clients: RedisClients,
  volume: VolumeRecord,
  signal: AbortSignal,
): BlockDevice {
  const { keys, size, chunkSize } = volume;
  const readPart = async (
    chunk: number,
    from: number,
    length: number,
    iov: IoVec,
    at: number,
  ): Promise<void> => {
    const [status, bytes] = await checkedRead(clients, keys, chunk, from, length);
    if (status === 1) throw chunkLost(keys.chunk(chunk));
    copyIn(iov, bytes, at);
    fillZero(iov, at + bytes.length, length - bytes.length);
  };
  /** A server that is away is waited for. */
  const patiently = async (ask: () => Promise<void>): Promise<void> => {
    for (let attempt = 0; ; attempt++) {
      try {
        await ask();
        return;
      } catch (error) {
        if (BlockError.is(error)) throw error;
        if (isReply(error)) throw requestError(error);
        await sleep(backoffMs(attempt, RETRY), signal).catch(() => {
          throw new BlockError('EIO', 'the disk was stopped while its Redis server was away');
        });
      }
    }
  };
  return {
    info: {
      size,
      caps: { concurrency: 'parallel', readOnly: true },
      limits: { optimalIoSize: chunkSize, maxIo: 8 * 2 ** 20 },
    },
    async read(offset, iov) {
      const length = iovLength(iov);
      const parts: Promise<void>[] = [];
      for (let at = 0; at < length; ) {
        const start = offset + at;
        const chunk = Math.floor(start / chunkSize);
        const from = start - chunk * chunkSize;
        const part = Math.min(chunkSize - from, length - at);
        const place = at;
        parts.push(patiently(() => readPart(chunk, from, part, iov, place)));
        at += part;
      }
      await settleAll(parts);
    },
    async [Symbol.asyncDispose]() {
      clients[Symbol.dispose]();
    },
  };
}
