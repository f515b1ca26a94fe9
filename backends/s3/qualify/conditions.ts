import type { ObjectStore, PutCondition } from '../store/object-store.ts';
import { isStoreError } from '../store/store-error.ts';
import { type Tools, type Trial, text } from './trial.ts';

/** At once, of each race. */
const RACERS = 16;
const RACES = 8;

/** Whether of several writers one wins. A 409 decides nothing, and is asked again. */
export const CONDITION_TRIALS: readonly Trial[] = [
  {
    summary: `of ${RACERS} creations of one object at once, one succeeds (If-None-Match)`,
    about: 'conditions',
    run: (tools) => race(tools, 'absent'),
  },
  {
    summary: `of ${RACERS} replacements of one object at once, one succeeds (If-Match)`,
    about: 'conditions',
    run: (tools) => race(tools, 'replace'),
  },
  {
    summary: 'an object that is there is not created again, and is what it was',
    about: 'conditions',
    async run(tools) {
      const { store, key } = tools;
      const name = key();
      await store.put(name, Buffer.from('first'), { condition: 'absent' });
      if (!(await isRefused(store, name, 'absent'))) return 'it was';
      return (await text(tools, name)) === 'first' ? undefined : 'it was changed all the same';
    },
  },
  {
    summary:
      'an object is not replaced on the condition of an ETag that it never had, nor one that is not there',
    about: 'conditions',
    async run(tools) {
      const { store, key } = tools;
      const [name, missing] = [key(), key()];
      const wrong = { etag: '"00000000000000000000000000000000"' };
      await store.put(name, Buffer.from('first'), {});
      if (!(await isRefused(store, name, wrong))) return 'it was replaced';
      return (await isRefused(store, missing, wrong)) ? undefined : 'one that is not there was created';
    },
  },
  {
    summary: 'an object that was deleted can be created again',
    about: 'conditions',
    async run(tools) {
      const { store, key } = tools;
      const name = key();
      await store.put(name, Buffer.from('first'), { condition: 'absent' });
      await store.deleteMany([name]);
      await store.put(name, Buffer.from('second'), { condition: 'absent' });
      return (await text(tools, name)) === 'second' ? undefined : 'it is not what was created';
    },
  },
];

async function race(tools: Tools, kind: 'absent' | 'replace'): Promise<string | undefined> {
  const { store, key } = tools;
  for (let round = 0; round < RACES; round++) {
    const name = key();
    const condition: PutCondition =
      kind === 'absent' ? 'absent' : { etag: await store.put(name, Buffer.from('before'), {}) };
    const won = await Promise.all(
      Array.from({ length: RACERS }, async (_, i) => {
        try {
          await store.put(name, Buffer.from(`racer ${i}`), { condition });
          return i;
        } catch (error) {
          if (isStoreError(error, 'precondition-failed')) return undefined;
          throw error;
        }
      }),
    );
    const winners = won.filter((racer) => racer !== undefined);
    if (winners.length !== 1) return `${winners.length} succeeded`;
    if ((await text(tools, name)) !== `racer ${winners[0]}`)
      return 'the object is not that of the one that did';
  }
  return undefined;
}

async function isRefused(store: ObjectStore, key: string, condition: PutCondition): Promise<boolean> {
  try {
    await store.put(key, Buffer.from('other'), { condition });
    return false;
  } catch (error) {
    if (isStoreError(error, 'precondition-failed')) return true;
    throw error;
  }
}
