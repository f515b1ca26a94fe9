import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nbdConfig } from '../../../backends/nbd/config.ts';
import nbd from '../../../backends/nbd/index.ts';
import { NBD_FLAG_HAS_FLAGS, NBD_OPT_ABORT, NBD_OPT_GO, NBD_OPT_INFO } from '../../../core/nbd/protocol.ts';
import { openContext } from '../../support/plugin-context.ts';
import { type NbdScript, ScriptedNbdServer } from '../../support/scripted-nbd-server.ts';
import { tempFolder } from '../../support/temp-folder.ts';

let owned: AsyncDisposableStack;

beforeEach(() => {
  owned = new AsyncDisposableStack();
});

afterEach(() => owned.disposeAsync());

/** What the check of an export finds, and the options that the server was asked for. */
async function check(script: Partial<NbdScript>) {
  const folder = owned.use(tempFolder());
  const path = folder.file('socket');
  const options: number[] = [];
  const server = await ScriptedNbdServer.start(path, {
    size: 2 ** 20,
    structured: true,
    answer: () => undefined,
    ...script,
    option: (option) => {
      options.push(option);
      return script.option?.(option);
    },
  });
  owned.use(server);
  const config = nbdConfig.parse({ uri: `nbd+unix:///?socket=${path}` });
  const findings = await nbd.check!(config, openContext(folder.path));
  return { findings, options, server };
}

describe('the check of an export', () => {
  it('asks what the server has, and opens nothing', async () => {
    const { findings, options } = await check({});
    expect(findings).toMatchObject([{ severity: 'ok', summary: expect.stringContaining('1 MiB') }]);
    await expect.poll(() => options).toEqual([NBD_OPT_INFO, NBD_OPT_ABORT]);
  });

  it('opens the export of a server that does not say otherwise', async () => {
    const { findings, options, server } = await check({ hasInfo: false });
    expect(findings).toMatchObject([{ severity: 'ok' }]);
    expect(options[0]).toBe(NBD_OPT_INFO);
    expect(options.at(-1)).toBe(NBD_OPT_GO);
    expect(server.connections).toBe(2);
  });

  it.each<[string, Partial<NbdScript>, string, string]>([
    ['cannot flush', { flags: NBD_FLAG_HAS_FLAGS }, 'warning', 'the server cannot flush'],
    ['has an export that is no disk', { size: 700 }, 'error', 'no multiple'],
    ['closes at once', { greet: (socket) => socket.end() !== undefined }, 'error', ''],
  ])('says that a server %s', async (_name, script, severity, what) => {
    const { findings } = await check(script);
    expect(findings.at(-1)).toMatchObject({ severity, summary: expect.stringContaining(what) });
  });
});
