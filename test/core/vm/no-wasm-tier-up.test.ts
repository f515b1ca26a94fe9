import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { GUEST_NODE_OPTIONS } from '../../../core/vm/guest-script.ts';

/** Strips types often enough for V8 to bring in its optimizing compiler. */
const STRIP = `const source = 'const a: number = 1;'.repeat(1000);
  for (let i = 0; i < 40; i++) require('node:module').stripTypeScriptTypes(source);`;

function compilersUsed(env: NodeJS.ProcessEnv): Set<string | undefined> {
  const args = ['--trace-wasm-compilation-times', '--wasm-tiering-budget=1000', '-e', STRIP];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { env, encoding: 'utf8' });
  expect(status, stderr).toBe(0);
  return new Set([...stdout.matchAll(/^Compiled function .* using (\w+)/gm)].map((match) => match[1]));
}

describe('Node.js in the test VM', () => {
  it('never compiles WebAssembly with the optimizing compiler', () => {
    expect(compilersUsed({})).toContain('TurboFan');
    expect(compilersUsed({ NODE_OPTIONS: GUEST_NODE_OPTIONS })).toEqual(new Set(['Liftoff']));
  });
});
