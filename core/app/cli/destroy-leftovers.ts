import { join } from 'node:path';
import { GatewayError } from '../../api/errors.ts';
import type { Holder, Leftover } from '../../api/frontend.ts';
import { createLogger } from '../../observe/logger.ts';
import { PluginRegistry } from '../../plugins/registry.ts';
import { errorToJson } from './error-json.ts';
import { ExitCode, exitCodeOf } from './exit-code.ts';
import { printError } from './print-error.ts';
import type { Terminal } from './terminal.ts';

interface Request {
  readonly stateDir: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

/** Removes devices that nobody serves, one after the other, whatever becomes of the others. Returns the exit status. */
export async function destroyLeftovers(
  names: readonly string[],
  { stateDir, force = false, json = false }: Request,
  terminal: Terminal,
): Promise<number> {
  const found = await allLeftovers();
  for (const name of names) if (!found.some(({ disk }) => disk === name)) throw noLeftover(name);
  const wanted = found.filter(({ disk }) => names.length === 0 || names.includes(disk));
  const logger = createLogger({ level: 'warn', format: 'text', write: (line) => terminal.writeRaw(line) });
  const outcomes: { disk: string; device: string; error?: unknown }[] = [];
  for (const leftover of wanted) {
    const { disk, device } = leftover;
    try {
      const holders = await leftover.holders();
      if (holders.length > 0 && !force) throw held(leftover, holders);
      await leftover.destroy({ stateDir: join(stateDir, disk), logger });
      outcomes.push({ disk, device });
      if (!json) terminal.say(`${terminal.tint('green', '✔')} ${device} is destroyed`);
    } catch (error) {
      outcomes.push({ disk, device, error });
      if (!json) printError(terminal, error);
    }
  }
  if (json) terminal.printJson(outcomes.map(outcomeToJson));
  else if (wanted.length === 0) terminal.say('There are no devices that nobody serves.');
  const failure = outcomes.find(({ error }) => error !== undefined);
  return failure === undefined ? ExitCode.OK : exitCodeOf(failure.error);
}

async function allLeftovers(): Promise<readonly Leftover[]> {
  const vduse = await PluginRegistry.builtIn().find('frontend', 'vduse');
  return (await (await vduse?.load())?.leftovers?.()) ?? [];
}

function outcomeToJson({ disk, device, error }: { disk: string; device: string; error?: unknown }) {
  return { disk, device, ...(error !== undefined && { error: errorToJson(error) }) };
}

function held({ disk, device }: Leftover, holders: readonly Holder[]): GatewayError {
  const who = holders.map(({ description }) => description).join(', ');
  return new GatewayError('disk.held', `The device ${device} of disk "${disk}" is in use: ${who}.`, {
    why: 'Taking a disk away from under a file system or a program loses what was not written yet.',
    fix: `Start the disk again with "blockgate run ${disk}"; or destroy it with --force.`,
  });
}

function noLeftover(disk: string): GatewayError {
  return new GatewayError('gateway.no-leftover', `No dead gateway left a device of disk "${disk}" behind.`, {
    why: 'There is none, or a process serves it.',
    fix: `To stop a disk that is served, use "blockgate detach ${disk}".`,
  });
}
