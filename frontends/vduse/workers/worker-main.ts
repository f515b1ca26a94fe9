import { once } from 'node:events';
import { flushCompileCache } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { openThreadVolume } from '../../../core/block/thread-volume.ts';
import { EdgeWait } from '../../../core/system/edge-wait.ts';
import { linux } from '../../../core/system/libc.ts';
import { loopReactor } from '../../../core/system/reactor.ts';
import { ForwardingLogger } from '../../../core/util/forwarding-logger.ts';
import { toWire } from '../../../core/util/wire-error.ts';
import { VduseDevice } from '../device.ts';
import { InFlightFile } from '../inflight-file.ts';
import { QueueServer } from './queue-server.ts';
import type { FromWorker, ThreadPreload, ToWorker, WorkerSettings } from './worker-messages.ts';

/** The thread of one virtqueue, started by `takeThread` or `loadThreads`. */

const port = parentPort!;
const send = (message: FromWorker): void => port.postMessage(message);
const { volumeModule } = workerData as ThreadPreload;
if (volumeModule !== undefined) await import(volumeModule);
send({ type: 'loaded' });
const [settings] = (await once(port, 'message')) as [WorkerSettings];
// Without a listener it would not keep the thread, and there is none until the volume is open.
port.ref();

const logger = new ForwardingLogger((line) => send({ type: 'log', ...line })).child({
  queue: settings.index,
});
const { volume, grow, close } = await openThreadVolume(settings.volume, logger);
const inFlight = new InFlightFile({ syscalls: linux, ...settings.inFlight });
const sleep = new EdgeWait();
sleep.add(settings.wakeFd);
const server = new QueueServer({
  ...settings,
  device: new VduseDevice(linux, settings.device.fd, settings.device.name),
  syscalls: linux,
  reactor: loopReactor,
  sleep,
  logger,
  volume,
  inFlight,
  grow,
  state: new Int32Array(settings.state),
  onBroken: (error) => send({ type: 'broken', error: toWire(error) }),
});

port.on('message', (message: ToWorker) => void answer(message));
send({ type: 'ready' });
// At its end it may be killed, and the next thread would compile everything again.
flushCompileCache();

async function answer(message: ToWorker): Promise<void> {
  try {
    const result = await server.receive(message);
    if (message.type === 'close') await end();
    if ('id' in message) send({ type: 'answer', id: message.id, result });
  } catch (error) {
    if ('id' in message) send({ type: 'failure', id: message.id, error: toWire(error) });
    else send({ type: 'broken', error: toWire(error) });
  }
}

/** With the last handle gone, the thread ends. */
async function end(): Promise<void> {
  port.unref();
  await close();
  inFlight[Symbol.dispose]();
  sleep[Symbol.dispose]();
}
