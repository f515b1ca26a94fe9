/** What a test of a plugin is given, and what it runs. */

/** The functions of a test runner: node:test, vitest, mocha and others have them. */
export interface TestRunner {
  describe(name: string, body: () => void): unknown;
  it(name: string, body: () => Promise<void>): unknown;
}

/** A filter between the tests and the backend. */
export interface FilterUse {
  /** Module whose default export is the filter. */
  readonly entry: string | URL;
  /** As in plugins.json, without "type". Default: {}. */
  readonly config?: unknown;
}

/** A store that the backend can open; disposal removes it. */
export interface TestStore extends Partial<AsyncDisposable> {
  /** Configuration of the backend as in plugins.json, without "type". Opened again, it is the same store. */
  readonly config: unknown;
  /** Layers over the backend; the first is nearest the tests. Default: none. */
  readonly filters?: readonly FilterUse[];
  /** The disk is configured read-only: the backend refuses another one. */
  readonly readOnly?: boolean;
  /** Makes the store fail, and work again: for tests of what the backend does meanwhile. */
  readonly break?: () => Promise<void>;
  readonly mend?: () => Promise<void>;
}

/** L0 reads, L1 writes, L2 what is optional and what goes wrong; each includes those before it. */
export type Level = 'L0' | 'L1' | 'L2';

export interface BackendTest {
  /** Module whose default export is the backend, as its manifest names it. */
  readonly entry: string | URL;
  /** What the backend claims to do. */
  readonly level: Level;
  readonly runner: TestRunner;
  /** Makes a new store of 4 MiB or more, whose content does not matter. Called once per test. */
  setup(): TestStore | Promise<TestStore>;
  /** Gets the certificate. Default: stdout. */
  readonly print?: (certificate: string) => void;
  /** What goes into the titles, where several tests run. Default: the name of the plugin's file. */
  readonly title?: string;
}
