import { randomBytes } from 'node:crypto';
import { type Trial, text } from './trial.ts';

const TIMES = 8;

/** Whether what is read is what was written. */
export const CONTENT_TRIALS: readonly Trial[] = [
  {
    summary: 'what was written is read at once, and what was deleted is gone at once',
    about: 'content',
    async run(tools) {
      const { store, key } = tools;
      for (let i = 0; i < TIMES; i++) {
        const name = key();
        if ((await text(tools, name)) !== undefined) return 'an object is there that was never written';
        await store.put(name, Buffer.from(`${i}`), {});
        if ((await text(tools, name)) !== `${i}`) return 'an object was not there after it was written';
        await store.put(name, Buffer.from(`${i} again`), {});
        if ((await text(tools, name)) !== `${i} again`) return 'an object was what it had been before';
        await store.deleteMany([name]);
        if ((await text(tools, name)) !== undefined) return 'an object was there after it was deleted';
      }
      return undefined;
    },
  },
  {
    summary: 'parts of objects are what they should be',
    about: 'content',
    async run({ store, key }) {
      const name = key();
      const body = randomBytes(300_000);
      await store.put(name, body, {});
      for (const [offset, length] of [
        [0, 1],
        [65_536, 131_072],
        [299_999, 1],
        [299_000, 5000],
      ] as const) {
        const found = Buffer.alloc(length);
        const info = await store.read(name, offset, [found]);
        const expected = body.subarray(offset, offset + length);
        if (info?.size !== body.length) return `the size is told as ${info?.size}`;
        if (!found.subarray(0, expected.length).equals(expected)) return `bytes from ${offset} on are others`;
      }
      return undefined;
    },
  },
];
