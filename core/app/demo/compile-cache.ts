import { flushCompileCache, getCompileCacheDir } from 'node:module';
import { dirname } from 'node:path';
import { GUEST_NODE_OPTIONS } from '../../vm/guest-script.ts';

/**
 * The folder of Node's compile cache, for the demo's other processes. The virtual machine sees this machine's files,
 * and the same Node reads the same cache there: what was compiled here need not be compiled under emulation.
 */
export function compileCacheEnv(): Record<string, string> {
  const folder = getCompileCacheDir();
  const cache = folder === undefined ? {} : { NODE_COMPILE_CACHE: dirname(folder) };
  return { NODE_OPTIONS: GUEST_NODE_OPTIONS, ...cache };
}

/** Compiles here what the gateway in the virtual machine will load. Call it before the machine is booted. */
export async function warmCompileCache(): Promise<void> {
  await Promise.all([
    import('../cli/run-disks.ts'),
    import('../disk-runner.ts'),
    import('../../util/forwarding-logger.ts'),
  ]);
  flushCompileCache();
}
