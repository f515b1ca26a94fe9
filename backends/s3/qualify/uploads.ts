import { randomBytes } from 'node:crypto';
import { sleep } from '../../../core/plugin.ts';
import type { FaultyUploads, ObjectStore } from '../store/object-store.ts';
import { isStoreError, type StoreError } from '../store/store-error.ts';
import type { Tools, Trial } from './trial.ts';

/** Creations whose answer is lost. */
const LOST = 12;
const SMALL = 4096;
/** Of an upload that breaks off. */
const LARGE = 256 * 1024;
/** In which what was sent arrives, and what may come late has come. Milliseconds. */
const ARRIVAL_MS = 100;
/** Times that a request is made before a passing failure counts as one. */
const ATTEMPTS = 5;
/** Metadata by which one creation is told from another of the same bytes. */
const BY = 'blockgate-attempt';

/** What becomes of uploads that fail on the way. */
export const uploadTrials = (faulty: FaultyUploads): readonly Trial[] => [
  {
    summary: `of each of ${LOST} creations whose answer is lost, and which are made again, one succeeds`,
    about: 'conditions',
    run: (tools) => loseAnswers(tools, faulty),
  },
  {
    summary: 'an upload is not seen before it is whole, and leaves nothing when it breaks off',
    about: 'content',
    run: (tools) => breakOff(tools, faulty),
  },
  {
    summary: 'an upload that is refused leaves nothing',
    about: 'content',
    async run({ store, key }) {
      const name = key();
      if (!(await isDamageRefused(faulty, name))) return undefined;
      return (await store.head(name)) === undefined ? undefined : 'it was stored all the same';
    },
  },
  {
    summary: 'an upload whose checksum is wrong is refused',
    about: 'transit',
    run: async ({ key }) => ((await isDamageRefused(faulty, key())) ? undefined : 'it was stored'),
  },
];

/**
 * The connection is cut at one moment or another between the end of the body and the answer, and the same is sent again: by
 * what is refused then a gateway knows that its object is there.
 */
async function loseAnswers({ store, key, note }: Tools, faulty: FaultyUploads): Promise<string | undefined> {
  const latency = await latencyOf(store, key());
  const created: { readonly name: string; readonly by: string }[] = [];
  let lost = 0;
  for (let i = 0; i < LOST; i++) {
    const name = key();
    const body = randomBytes(SMALL);
    const isLost = await createUnanswered(faulty, name, body, (latency * (i - (i % 2))) / LOST);
    if (isLost) lost++;
    // One half is made again at once, while the first may still be under way.
    const first = i % 2 === 0 ? undefined : await store.head(name);
    const isCreated = await isCreatedAgain(store, name, body);
    if (first !== undefined && isCreated) return 'it succeeded twice';
    const found = await store.get(name, SMALL);
    if (found === undefined) return isCreated ? 'it is not there' : 'it was refused, and is not there';
    if (!body.equals(found.body)) return 'it is something else';
    const by = isCreated ? 'second' : 'first';
    if (found.info.metadata[BY] !== by)
      return isCreated ? 'it succeeded twice' : 'it was refused, and cannot be told to be there already';
    created.push({ name, by });
  }
  await sleep(ARRIVAL_MS);
  for (const { name, by } of created)
    if ((await store.head(name))?.metadata[BY] !== by) return 'the first came late, and succeeded as well';
  const before = created.filter(({ by }) => by === 'first').length;
  note(`${lost} answers were lost, and ${before} objects were there when they were made again`);
  return undefined;
}

/** Milliseconds. */
async function latencyOf(store: ObjectStore, name: string): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    await store.put(name, Buffer.alloc(SMALL), {});
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[2]!;
}

/** Cuts the connection some time after the body was sent. False: the answer came before. */
async function createUnanswered(
  faulty: FaultyUploads,
  name: string,
  body: Uint8Array,
  afterMs: number,
): Promise<boolean> {
  const cut = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const sent = async function* () {
    yield body;
    if (afterMs === 0) cut.abort();
    else timer = setTimeout(() => cut.abort(), afterMs);
  };
  try {
    await faulty.putAs(name, body, sent(), { condition: 'absent', metadata: { [BY]: 'first' } }, cut.signal);
    return false;
  } catch (error) {
    if (!isStoreError(error)) throw error;
    return true;
  } finally {
    clearTimeout(timer);
  }
}

async function isCreatedAgain(store: ObjectStore, name: string, body: Uint8Array): Promise<boolean> {
  try {
    await store.put(name, body, { condition: 'absent', metadata: { [BY]: 'second' } });
    return true;
  } catch (error) {
    if (isStoreError(error, 'precondition-failed')) return false;
    throw error;
  }
}

async function breakOff({ store, key }: Tools, faulty: FaultyUploads): Promise<string | undefined> {
  const [fresh, old] = [key(), key()];
  const before = randomBytes(LARGE / 4);
  await store.put(old, before, {});
  const isOld = async (): Promise<boolean> => {
    const found = await store.get(old, LARGE);
    return found !== undefined && before.equals(found.body);
  };
  let seen = '';
  const look = async (what: string): Promise<void> => {
    if ((await store.head(fresh)) !== undefined) seen ||= `a part of it was there ${what}`;
    if (!(await isOld())) seen ||= `the object that it was to replace was another ${what}`;
  };
  for (const name of [fresh, old]) {
    const body = randomBytes(LARGE);
    const half = async function* () {
      yield body.subarray(0, LARGE / 2);
      await sleep(ARRIVAL_MS);
      await look('before it had ended');
      throw new Error('the upload breaks off');
    };
    const failed = await faulty.putAs(name, body, half(), {}).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (failed === undefined) return 'it succeeded';
    if (!isStoreError(failed)) throw failed;
  }
  await sleep(ARRIVAL_MS);
  await look('after it had broken off');
  return seen === '' ? undefined : seen;
}

/** Whether the store refuses what is not what its checksum says. Throws when it fails in another way. */
async function isDamageRefused(faulty: FaultyUploads, name: string): Promise<boolean> {
  const body = randomBytes(SMALL);
  const damaged = Uint8Array.from(body);
  damaged[SMALL / 2]! ^= 1;
  for (let attempt = 1; ; attempt++) {
    try {
      await faulty.putAs(name, body, damaged);
      return false;
    } catch (error) {
      if (!isStoreError(error)) throw error;
      if (isRefusal(error)) return true;
      if (attempt === ATTEMPTS) throw error;
      await sleep(ARRIVAL_MS);
    }
  }
}

/** Where the body is a part of what is signed, a signature that does not fit is a refusal as well. */
const isRefusal = ({ kind, transient, repairable }: StoreError): boolean =>
  kind === 'damaged' || kind === 'bad-credentials' || !(transient || repairable);
