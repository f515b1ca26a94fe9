import type { Readable, Writable } from 'node:stream';
import { toWire } from '../../../core/util/wire-error.ts';
import type { DeviceAdmin } from '../device-admin.ts';
import { jsonLines } from './json-lines.ts';
import { type Call, deviceShape, type Reply, requestSchema } from './protocol.ts';

/** Characters of a request: the largest, `create`, has some 600. */
const MAX_REQUEST = 4096;
/** Calls that wait for their turn. A disk's process has one or two. */
const MAX_WAITING = 8;
/** Every disk is attached once and detached twice at most; a call given up may leave a process that waits in the kernel. */
const MAX_BUS_CALLS = 16;

/**
 * Carries out what a disk's process may ask for, until `input` ends. Throws at the first request that no honest
 * process makes.
 */
export async function serveAdmin(admin: DeviceAdmin, input: Readable, output: Writable): Promise<void> {
  const waiting = new Map<number, AbortController>();
  let last = Promise.resolve();
  let busCalls = 0;
  for await (const line of jsonLines(input, MAX_REQUEST)) {
    const { data: message } = requestSchema.safeParse(line);
    if (message === undefined) throw new Error('a request that is none');
    if ('cancel' in message) {
      waiting.get(message.cancel)?.abort(new Error('given up'));
      continue;
    }
    const { id, request } = message;
    if (waiting.size >= MAX_WAITING || waiting.has(id)) throw new Error('too many requests at a time');
    if ((request.call === 'attach' || request.call === 'detach') && ++busCalls > MAX_BUS_CALLS)
      throw new Error('too many requests to the bus');
    const giveUp = new AbortController();
    waiting.set(id, giveUp);
    last = last.then(async () => {
      const reply = await answer(id, request, admin, giveUp.signal);
      waiting.delete(id);
      output.write(`${JSON.stringify(reply)}\n`);
    });
  }
}

async function answer(id: number, request: Call, admin: DeviceAdmin, signal: AbortSignal): Promise<Reply> {
  try {
    return { id, value: await carryOut(request, admin, signal) };
  } catch (error) {
    return { id, error: toWire(error) };
  }
}

async function carryOut(request: Call, admin: DeviceAdmin, signal: AbortSignal): Promise<unknown> {
  switch (request.call) {
    case 'create':
      return admin.create(deviceShape(request));
    case 'configure':
      return admin.configure(request);
    case 'loadModules':
      return admin.loadModules(request.attach);
    case 'provideInFlight':
      return admin.provideInFlight(request);
    case 'attach':
      return admin.attach(request.attach, signal);
    case 'detach':
      return admin.detach(signal);
    default:
      return admin[request.call]();
  }
}
