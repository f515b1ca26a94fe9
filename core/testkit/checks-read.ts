import { ok } from 'node:assert/strict';
import { type Check, PLAYGROUND } from './check.ts';
import { expectBytes, readAt } from './pattern.ts';

/** L0: what every backend does. */
export const READ_CHECKS: readonly Check[] = [
  {
    level: 'L0',
    title: 'opens a device that says what it is',
    async run(store) {
      await using disk = await store.open();
      ok(
        disk.volume.size >= PLAYGROUND,
        `the store of a test has 4 MiB or more, not ${disk.volume.size} bytes`,
      );
    },
  },
  {
    level: 'L0',
    title: 'reads the first block, the last one, and all between',
    async run(store) {
      await using disk = await store.open();
      const { volume } = disk;
      const { blockSize } = volume.limits;
      const { size } = volume;
      const first = await readAt(volume, 0, blockSize);
      const last = await readAt(volume, size - blockSize, blockSize);
      expectBytes(await readAt(volume, 0, blockSize), first, 'the first block, read again');
      const end = await readAt(volume, size - PLAYGROUND, PLAYGROUND);
      expectBytes(end.subarray(PLAYGROUND - blockSize), last, 'the last block, read with others');
    },
  },
  {
    level: 'L0',
    title: 'fills segments of any length, and nothing beside them',
    async run(store) {
      await using disk = await store.open();
      const { volume } = disk;
      const { blockSize } = volume.limits;
      const length = 16 * Math.max(blockSize, 4096);
      const whole = await readAt(volume, 0, length);
      const guarded = new Uint8Array(length + 64).fill(0x5a);
      const cuts = [0, 1, 2, 100, 511, 512, 4097, length - 1, length];
      const iov = cuts.slice(1).map((cut, i) => guarded.subarray(32 + cuts[i]!, 32 + cut));
      await volume.read(0, iov, 0);
      expectBytes(guarded.subarray(32, 32 + length), whole, 'a read in pieces');
      const guards = [...guarded.subarray(0, 32), ...guarded.subarray(32 + length)];
      ok(
        guards.every((byte) => byte === 0x5a),
        'memory beside a read was written to',
      );
    },
  },
  {
    level: 'L0',
    title: 'takes the largest request that it allows, and the volume refuses what is none',
    async run(store) {
      await using disk = await store.open();
      const { volume } = disk;
      const { blockSize } = volume.limits;
      await readAt(volume, 0, PLAYGROUND);
      for (const [offset, length] of [
        [volume.size, blockSize],
        [volume.size - blockSize, 2 * blockSize],
        [1, blockSize],
        [0, blockSize - 1],
        [-blockSize, blockSize],
      ] as const)
        await refuses(() => readAt(volume, offset, length), 'EINVAL', `a read of ${offset}+${length}`);
    },
  },
  {
    level: 'L0',
    title: 'reads many places at once',
    async run(store) {
      await using disk = await store.open();
      const { volume } = disk;
      const { blockSize } = volume.limits;
      const count = 64;
      const whole = await readAt(volume, 0, count * blockSize);
      const parts = await Promise.all(
        Array.from({ length: count }, (_, i) => readAt(volume, i * blockSize, blockSize)),
      );
      for (const [i, part] of parts.entries())
        expectBytes(
          part,
          whole.subarray(i * blockSize, (i + 1) * blockSize),
          `block ${i}, read beside others`,
        );
    },
  },
  {
    level: 'L0',
    title: 'is disposed of, and opened again',
    async run(store) {
      for (let i = 0; i < 3; i++) {
        await using disk = await store.open();
        await readAt(disk.volume, 0, disk.volume.limits.blockSize);
      }
    },
  },
];

export async function refuses(call: () => unknown, code: string, what: string): Promise<void> {
  try {
    await call();
  } catch (error) {
    const found = (error as { code?: string }).code;
    if (found !== code) throw new Error(`${what} fails with ${found ?? String(error)} instead of ${code}`);
    return;
  }
  throw new Error(`${what} does not fail`);
}
