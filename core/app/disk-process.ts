import { flushCompileCache } from 'node:module';
import { setTimeout as delay } from 'node:timers/promises';
import { isLogged } from '../observe/log-level.ts';
import type { PreparedDisk } from '../plugins/registry.ts';
import { ForwardingLogger } from '../util/forwarding-logger.ts';
import { toWire } from '../util/wire-error.ts';
import type { Disk } from './disk.ts';
import {
  CHANNEL_VERSION,
  type FromDisk,
  type Identity,
  momentOf,
  type Question,
  type ToDisk,
} from './disk-messages.ts';
import { prepareOrder, warmUp } from './disk-order.ts';
import { runDisk } from './disk-runner.ts';
import { prepareAsUser } from './unprivileged.ts';

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
let prepared: Promise<PreparedDisk> | undefined;
let running: Promise<Disk> | undefined;

process.on('message', (message: ToDisk) => {
  switch (message.type) {
    case 'prepare':
      return void prepare(message);
    case 'start':
      return start(message);
    case 'ask':
      return void answer(message.id, message);
    case 'ping':
      return send({ type: 'pong' });
    case 'stop':
      return void stop();
    case 'hand-over':
      return void handOver();
  }
});
process.on('disconnect', () => void orphaned());

async function prepare(identity: Identity): Promise<void> {
  prepared = prepareDisk(identity);
  try {
    await warmUp(await prepared);
    send({ type: 'prepared', version: CHANNEL_VERSION });
  } catch (error) {
    end(error);
  }
}

function prepareDisk({ order, stateDir, user }: Identity): Promise<PreparedDisk> {
  return user === undefined ? prepareOrder(order) : prepareAsUser(order, user, stateDir);
}

function start(message: Extract<ToDisk, { type: 'start' }>): void {
  const { order, stateDir, takeOver, logLevel } = message;
  graceMs = message.graceMs;
  // What nobody will read is not sent.
  const logger = new ForwardingLogger(
    (line) => send({ type: 'log', ...line }),
    (level) => isLogged(level, logLevel),
  );
  const { signal } = givingUp;
  prepared ??= prepareDisk(message);
  running = prepared.then((disk) =>
    runDisk(disk, { logger, baseDir: order.baseDir, stateDir, takeOver, graceMs, signal }),
  );
  running.then(attached, end);
}

function attached(disk: Disk): void {
  send({ type: 'ready', details: disk.details });
  // At its end it may be killed, and the next process would compile everything again.
  flushCompileCache();
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

async function handOver(): Promise<void> {
  try {
    await (await running)?.handOver();
    end();
  } catch (error) {
    end(error);
  }
}

async function answer(id: number, question: Question): Promise<void> {
  try {
    const disk = await running;
    if (disk === undefined) throw new Error('the disk has not been started');
    send({ type: 'answer', id, value: await ask(disk, question) });
  } catch (error) {
    send({ type: 'answer', id, error: toWire(error) });
  }
}

function ask(disk: Disk, question: Question): Promise<unknown> {
  switch (question.about) {
    case 'holders':
      return disk.holders();
    case 'report':
      return disk.report();
    case 'flush':
      return disk.flush();
    case 'resize':
      return disk.resize(question.size);
    case 'snapshot':
      return disk.snapshot(question.name, momentOf(question));
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
