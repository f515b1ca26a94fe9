/** `blockgate/testkit`: what a plugin is tested with. */
export { testBackend } from './testkit/backend-suite.ts';
export type { BackendTest, FilterUse, Level, TestRunner, TestStore } from './testkit/test-store.ts';
