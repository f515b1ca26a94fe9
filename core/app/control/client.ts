import { GatewayError } from '../../api/errors.ts';
import { fromWire } from '../../util/wire-error.ts';
import {
  type ControlRequest,
  type ControlResults,
  decodeResponse,
  encodeRequest,
  type GatewayStatus,
  MAX_RESPONSE,
  noAnswer,
} from './protocol.ts';
import { readLine } from './read-line.ts';
import { connectOrRemove, SocketFolder } from './socket-folder.ts';

type DiskRequest = Extract<ControlRequest, { disk: string }>;

/** The gateways that run with one folder of state, asked over their control sockets. */
export class ControlClient {
  readonly #stateDir: string;
  readonly #folder: SocketFolder;

  constructor(stateDir: string) {
    this.#stateDir = stateDir;
    this.#folder = new SocketFolder(stateDir);
  }

  /** Of every gateway. */
  async status(): Promise<GatewayStatus[]> {
    const statuses = await Promise.all(this.#folder.paths().map((path) => statusAt(path)));
    return statuses.filter((status) => status !== undefined);
  }

  /** Asks the gateway that serves the disk. Throws `gateway.not-serving`, and what the gateway answers. */
  async ask<R extends DiskRequest>(request: R): Promise<ControlResults[R['method']]> {
    for (const path of this.#folder.paths()) {
      const status = await statusAt(path);
      if (!status?.disks.some(({ disk, state }) => disk === request.disk && state !== 'stopped')) continue;
      const answer = await ask(path, request as ControlRequest);
      if (answer !== undefined) return answer as ControlResults[R['method']];
    }
    throw notServing(request.disk, this.#stateDir);
  }
}

/** One that ends just now is as good as one that has ended. */
async function statusAt(path: string): Promise<GatewayStatus | undefined> {
  try {
    return (await ask(path, { method: 'status' })) as GatewayStatus | undefined;
  } catch (error) {
    if (GatewayError.is(error) && error.code === 'gateway.no-answer') return undefined;
    throw error;
  }
}

/** Undefined when nobody listens there any more. */
async function ask(path: string, request: ControlRequest): Promise<unknown> {
  const socket = await connectOrRemove(path);
  if (socket === undefined) return undefined;
  try {
    socket.write(encodeRequest(request));
    const line = await readLine(socket, MAX_RESPONSE).catch((cause: Error) => {
      throw noAnswer(`Its control socket failed: ${cause.message}.`, cause);
    });
    if (line === undefined) throw noAnswer('It closed its control socket first.');
    const response = decodeResponse(line);
    if ('error' in response) throw fromWire(response.error);
    return response.result;
  } finally {
    socket.destroy();
  }
}

export function notServing(disk: string, stateDir: string): GatewayError {
  return new GatewayError('gateway.not-serving', `No running gateway serves disk "${disk}".`, {
    why: `None of those whose state is in ${stateDir} has it.`,
    fix: `Start it with "blockgate run ${disk}", or name the gateway’s folder with --state-dir.`,
  });
}
