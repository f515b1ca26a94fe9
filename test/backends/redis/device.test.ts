import { setImmediate } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { type DeviceParts, RedisDevice } from '../../../backends/redis/device.ts';
import { Bitmap, BlockError } from '../../../core/plugin.ts';

const CHUNK = 64 * 1024;

it('leaves the memory of a read alone once that has failed, also where it is of several chunks', async () => {
  const present = new Bitmap(4);
  present.set(0);
  present.set(1);
  const slow = Promise.withResolvers<void>();
  const link = {
    read: (chunk: number) =>
      chunk === 0 ? Promise.reject(new BlockError('EIO', 'the key is missing')) : slow.promise,
  };
  const volume = { size: 4 * CHUNK, chunkSize: CHUNK };
  const device = new RedisDevice({ present, link, volume } as unknown as DeviceParts);
  let isOver = false;
  const reading = Promise.resolve(device.read(CHUNK - 512, [new Uint8Array(1024)])).finally(() => {
    isOver = true;
  });
  reading.catch(() => undefined);
  await setImmediate();
  expect(isOver).toBe(false);
  slow.resolve();
  await expect(reading).rejects.toThrow('the key is missing');
});
