import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { compose, createContainer, resolveToken } from '../../../core/app/container.ts';
import { InProcessLauncher } from '../../../core/app/in-process-launcher.ts';
import { ProcessLauncher } from '../../../core/app/process-launcher.ts';
import * as tokens from '../../../core/app/tokens.ts';
import { ConfigErrors } from '../../../core/config/config-errors.ts';
import { Rig } from './rig.ts';

let rig: Rig;
beforeEach(async () => {
  rig = await Rig.make();
});
afterEach(() => rig[Symbol.asyncDispose]());

describe('the container', () => {
  it.each(Object.entries(tokens))('resolves %s, once', async (_name, token) => {
    const container = createContainer(rig.settings());
    const service = await resolveToken(container, token as tokens.Token<unknown>);
    expect(service).toBeDefined();
    expect(await resolveToken(container, token as tokens.Token<unknown>)).toBe(service);
  });

  it('starts disks in processes of their own unless told otherwise', async () => {
    const launcher = (inProcess: boolean) =>
      resolveToken(createContainer(rig.settings({ inProcess })), tokens.DiskLauncher);
    expect(await launcher(false)).toBeInstanceOf(ProcessLauncher);
    expect(await launcher(true)).toBeInstanceOf(InProcessLauncher);
  });

  it('passes on what is wrong with the configuration', async () => {
    await expect(compose(rig.settings({ configFile: rig.path('missing.json') }))).rejects.toBeInstanceOf(
      ConfigErrors,
    );
  });
});
