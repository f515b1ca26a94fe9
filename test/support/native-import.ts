import { constants, Script } from 'node:vm';

/** Node's own `import()`: vitest replaces the one in the sources, and with it the errors that Node would give. */
export const nativeImport = new Script('(url) => import(url)', {
  importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
}).runInThisContext() as (url: string) => Promise<unknown>;
