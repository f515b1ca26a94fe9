import type { ListOptions, ListPage, ObjectStore } from './object-store.ts';

/** What lies under `prefix`, page after page; the last has no `next`. Rejects with a `StoreError`. */
export async function* listPages(
  store: ObjectStore,
  prefix: string,
  options: Omit<ListOptions, 'continuation'> = {},
): AsyncGenerator<ListPage, void> {
  let page = await store.list(prefix, options);
  yield page;
  while (page.next !== undefined) {
    page = await store.list(prefix, { ...options, continuation: page.next });
    yield page;
  }
}
