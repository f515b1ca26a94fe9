import { setTimeout as delay } from 'node:timers/promises';
import { ChannelLogger } from './channel-logger.ts';
import type { Disk } from './disk.ts';
import type { FromDisk, ToDisk } from './disk-messages.ts';
import { prepareOrder } from './disk-order.ts';
import { runDisk } from './disk-runner.ts';
import { prepareAsUser } from './unprivileged.ts';
import { toWire } from './wire-error.ts';

/**
 * The process of one disk, started by `ProcessLauncher`. It ends by itself when the gateway is gone.
 *
 * Stopping is the gateway's decision: it asks first who uses the disk. A Ctrl-C in a terminal and a service manager
 * reach every process of the group, so those signals mean nothing here.
 */
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});

/** While orphaned: how often to look whether the disk is still used. Milliseconds. */
const ORPHAN_POLL_MS = 500;

const givingUp = new AbortController();
let graceMs = 0;
let running: Promise<Disk> | undefined;

process.on('message', (message: ToDisk) => {
  if (message.type === 'start') start(message);
  else if (message.type === 'stop') void stop();
  else if (message.type === 'ping') send({ type: 'pong' });
  else void answerHolders(message.id);
});
process.on('disconnect', () => void orphaned());

function start(message: Extract<ToDisk, { type: 'start' }>): void {
  const { order, stateDir, takeOver, logLevel, user } = message;
  graceMs = message.graceMs;
  const logger = new ChannelLogger(logLevel, send);
  const { signal } = givingUp;
  const options = { logger, baseDir: order.baseDir, stateDir, takeOver, graceMs, signal };
  running = (user === undefined ? prepareOrder(order) : prepareAsUser(order, user, stateDir)).then((disk) =>
    runDisk(disk, options),
  );
  running.then(attached, end);
}

function attached(disk: Disk): void {
  send({ type: 'ready', details: disk.details });
  void disk.ended.then((error) => error && end(error));
}

async function stop(): Promise<void> {
  givingUp.abort(new Error('told to stop'));
  try {
    await (await running)?.stop();
    end();
  } catch (error) {
    end(error);
  }
}

async function answerHolders(id: number): Promise<void> {
  try {
    send({ type: 'holders', id, holders: (await (await running)?.holders()) ?? [] });
  } catch (error) {
    send({ type: 'holders', id, error: toWire(error) });
  }
}

/** The gateway died. Whoever uses the disk gets the grace period to let go, then the disk is stopped all the same. */
async function orphaned(): Promise<void> {
  givingUp.abort(new Error('the gateway is gone'));
  const disk = await running?.catch(() => undefined);
  for (let left = graceMs; disk && left > 0; left -= ORPHAN_POLL_MS) {
    const holders = await disk.holders().catch(() => []);
    if (holders.length === 0) break;
    await delay(ORPHAN_POLL_MS);
  }
  await stop();
}

function send(message: FromDisk): void {
  if (process.connected) process.send?.(message, () => {});
}

/** Says how it went and leaves once that is said: a handle that a plugin forgot must not keep the process. */
function end(error?: unknown): void {
  const status = error === undefined ? 0 : 1;
  const message: FromDisk =
    error === undefined ? { type: 'stopped' } : { type: 'failed', error: toWire(error) };
  if (process.connected) process.send?.(message, () => process.exit(status));
  else process.exit(status);
}
