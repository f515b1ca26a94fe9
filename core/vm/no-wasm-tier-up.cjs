/**
 * For a Node.js in the test VM that runs TypeScript, loaded before anything else. Node strips types with a program in WebAssembly, and the
 * compiler that V8 brings in for what is called often now and then fails a check of its own under emulation ("Check
 * failed: it->second.Size() > offset"), which ends the process. The baseline compiler does not.
 */
require('node:v8').setFlagsFromString('--liftoff-only');
