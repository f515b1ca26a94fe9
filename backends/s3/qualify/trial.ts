import type { ObjectStore } from '../store/object-store.ts';

/** With what a trial works. */
export interface Tools {
  /** Tries again by itself. */
  readonly store: ObjectStore;
  /** A key that nobody has used. */
  readonly key: () => string;
  /** Something that a person may want to know of a trial that went well. */
  readonly note: (text: string) => void;
}

/** What depends on a property of a store. */
export type Concern =
  /** Without it gateways do not keep out of each other's way. */
  | 'conditions'
  /** Without it nothing can be stored. */
  | 'content'
  /** Without it damage is found later than it could be. */
  | 'transit';

/** One property of a store: throws, or returns what is wrong with it. */
export interface Trial {
  readonly summary: string;
  readonly about: Concern;
  run(tools: Tools): Promise<string | undefined>;
}

/** More than any object of which it is read. Bytes. */
const MAX_TEXT = 1000;

/** What the small object holds; undefined: it is not there. */
export async function text({ store }: Tools, key: string): Promise<string | undefined> {
  const object = await store.get(key, MAX_TEXT);
  return object && Buffer.from(object.body).toString();
}
