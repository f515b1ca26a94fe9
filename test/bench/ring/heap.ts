import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** Runs heap-main.ts, which needs a flag of its own, and returns its exit status. */
export async function measureHeap(): Promise<number> {
  const script = fileURLToPath(new URL('./heap-main.ts', import.meta.url));
  const child = spawn(process.execPath, ['--expose-gc', script], { stdio: 'inherit' });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}
