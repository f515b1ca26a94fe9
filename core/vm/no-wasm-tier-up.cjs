/**
 * For a Node.js in the test VM that runs TypeScript, loaded before anything else. Node strips types with a program in
 * WebAssembly. When V8 decides under emulation that one of its functions is called often and deserves the optimizing
 * compiler, it now and then fails a check of its own ("Check failed: it->second.Size() > offset", in
 * Runtime_WasmTriggerTierUp), which ends the process. These two flags together leave everything with the baseline
 * compiler; either alone does not, and neither does --liftoff-only, whose implications V8 draws only when it starts.
 */
const { setFlagsFromString } = require('node:v8');
setFlagsFromString('--no-wasm-dynamic-tiering');
setFlagsFromString('--no-wasm-tier-up');
