import { randomBytes, randomUUID } from 'node:crypto';
import type { Finding } from '../../core/plugin.ts';
import { deleteAll, type Operation } from './operation.ts';
import type { ObjectStore, PutCondition } from './store/object-store.ts';
import { isStoreError } from './store/store-error.ts';

/** At once, of each race. */
const RACERS = 16;
const RACES = 8;
/** Requests whose times are told. */
const TIMED = 40;

/** One property of a store: throws, or returns what is wrong with it. */
interface Trial {
  readonly summary: string;
  /** `conditions`: of writes, by which gateways keep out of each other's way. `content`: without it nothing can be stored. */
  readonly about: 'conditions' | 'content';
  run(store: ObjectStore, key: () => string): Promise<string | undefined>;
}

const TRIALS: readonly Trial[] = [
  {
    summary: `of ${RACERS} creations of one object at once, one succeeds (If-None-Match)`,
    about: 'conditions',
    run: (store, key) => race(store, key, 'absent'),
  },
  {
    summary: `of ${RACERS} replacements of one object at once, one succeeds (If-Match)`,
    about: 'conditions',
    run: (store, key) => race(store, key, 'replace'),
  },
  {
    summary: 'an object that is there is not created again, and is what it was',
    about: 'conditions',
    async run(store, key) {
      const name = key();
      await store.put(name, Buffer.from('first'), { condition: 'absent' });
      if (!(await isRefused(store, name, 'absent'))) return 'it was';
      return (await text(store, name)) === 'first' ? undefined : 'it was changed all the same';
    },
  },
  {
    summary:
      'an object is not replaced on the condition of an ETag that it never had, nor one that is not there',
    about: 'conditions',
    async run(store, key) {
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
    async run(store, key) {
      const name = key();
      await store.put(name, Buffer.from('first'), { condition: 'absent' });
      await store.deleteMany([name]);
      await store.put(name, Buffer.from('second'), { condition: 'absent' });
      return (await text(store, name)) === 'second' ? undefined : 'it is not what was created';
    },
  },
  {
    summary: 'what was written is read at once, and what was deleted is gone at once',
    about: 'content',
    async run(store, key) {
      for (let i = 0; i < RACES; i++) {
        const name = key();
        if ((await text(store, name)) !== undefined) return 'an object is there that was never written';
        await store.put(name, Buffer.from(`${i}`), {});
        if ((await text(store, name)) !== `${i}`) return 'an object was not there after it was written';
        await store.put(name, Buffer.from(`${i} again`), {});
        if ((await text(store, name)) !== `${i} again`) return 'an object was what it had been before';
        await store.deleteMany([name]);
        if ((await text(store, name)) !== undefined) return 'an object was there after it was deleted';
      }
      return undefined;
    },
  },
  {
    summary: 'parts of objects are what they should be',
    about: 'content',
    async run(store, key) {
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

/** Tries whether the store keeps to what the layouts need, with objects of its own beside the volume's. */
export async function qualifyStore({ store, config, ctx }: Operation): Promise<readonly Finding[]> {
  const root = `${config.prefix}-qualify-${randomUUID()}/`;
  const used: string[] = [];
  const key = (): string => {
    const name = `${root}${used.length}`;
    used.push(name);
    return name;
  };
  const findings: Finding[] = [];
  const lacking = new Set<Trial['about']>();
  try {
    for (const { summary, about, run } of TRIALS) {
      ctx.signal.throwIfAborted();
      const problem = await run(store, key).catch((error: unknown) => {
        if (isStoreError(error)) return error.message;
        throw error;
      });
      if (problem === undefined) findings.push({ severity: 'ok', summary });
      else {
        lacking.add(about);
        findings.push({ severity: 'error', summary: `not so: ${summary}; ${problem}` });
      }
    }
    findings.push({ severity: 'ok', summary: await latencies(store, key) });
  } finally {
    await deleteAll(store, used).catch(() => undefined);
  }
  findings.push(verdict(lacking));
  return findings;
}

function verdict(lacking: ReadonlySet<Trial['about']>): Finding {
  if (lacking.size === 0) return { severity: 'ok', summary: 'volumes of both layouts are safe there' };
  const isStored = !lacking.has('content');
  return {
    severity: 'error',
    summary: isStored
      ? 'nothing keeps two gateways on one volume apart there: no layout "log", and "chunk" only with "unsafeNoFence"'
      : 'nothing is safe there',
    fix: 'Use another store (AWS, Ceph 20, MinIO since 2024), or a newer version of this one.',
  };
}

async function race(
  store: ObjectStore,
  key: () => string,
  kind: 'absent' | 'replace',
): Promise<string | undefined> {
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
    if ((await text(store, name)) !== `racer ${winners[0]}`)
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

async function text(store: ObjectStore, key: string): Promise<string | undefined> {
  const object = await store.get(key, 1000);
  return object && Buffer.from(object.body).toString();
}

/** Of small objects, one after the other. */
async function latencies(store: ObjectStore, key: () => string): Promise<string> {
  const body = Buffer.alloc(4096, 1);
  const [puts, gets]: [number[], number[]] = [[], []];
  const timed = async (into: number[], run: () => Promise<unknown>): Promise<void> => {
    const start = performance.now();
    await run();
    into.push(performance.now() - start);
  };
  for (let i = 0; i < TIMED; i++) {
    const name = key();
    await timed(puts, () => store.put(name, body, { condition: 'absent' }));
    await timed(gets, () => store.read(name, 0, [Buffer.alloc(4096)]));
  }
  const show = (times: number[]): string => {
    const sorted = times.toSorted((a, b) => a - b);
    const at = (share: number): string => sorted[Math.ceil(share * sorted.length) - 1]!.toFixed(1);
    return `${at(0.5)} ms (median), ${at(0.95)} (p95), ${at(1)} at most`;
  };
  return `4 KiB are stored in ${show(puts)}, and read in ${show(gets)}`;
}
