import { S3Server, type S3ServerOptions } from '../../s3-server/server.ts';
import { toWire, type WireError } from '../../util/wire-error.ts';

/** The demo's S3 server in a process of its own, so that stopping and starting it is what it says. */

export type ToS3Process =
  | { readonly type: 'start'; readonly options: S3ServerOptions }
  | { readonly type: 'stop' };
export type FromS3Process =
  | { readonly type: 'ready'; readonly endpoint: string; readonly port: number }
  | { readonly type: 'failed'; readonly error: WireError };

// A Ctrl-C reaches every process of the terminal; the disk has to be stopped before its store.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});

let server: S3Server | undefined;

process.on('message', (message: ToS3Process) => {
  if (message.type === 'stop') void stop();
  else void start(message.options);
});
// The demo is gone.
process.on('disconnect', () => void stop());

async function start(options: S3ServerOptions): Promise<void> {
  try {
    server = await S3Server.start(options);
    send({ type: 'ready', endpoint: server.endpoint, port: server.port });
  } catch (error) {
    send({ type: 'failed', error: toWire(error) }, () => process.exit(1));
  }
}

/** A server that is still starting has promised nothing to anybody yet. */
async function stop(): Promise<void> {
  await server?.[Symbol.asyncDispose]();
  process.exit(0);
}

function send(message: FromS3Process, sent: () => void = () => {}): void {
  process.send?.(message, sent);
}
