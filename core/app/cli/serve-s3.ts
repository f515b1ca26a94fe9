import { once } from 'node:events';
import { resolve } from 'node:path';
import { GatewayError } from '../../api/errors.ts';
import { createLogger } from '../../observe/logger.ts';
import { S3Server } from '../../s3-server/server.ts';
import { S3Folder, type S3Keys } from '../s3-folder.ts';
import { onTermination } from '../signals.ts';
import type { S3ServerOptions } from './commands/s3-server.ts';
import { ExitCode } from './exit-code.ts';
import type { Terminal } from './terminal.ts';

/** Serves S3 until a signal. Returns the exit status. */
export async function serveS3(options: S3ServerOptions, terminal: Terminal): Promise<number> {
  const stopped = new EventTarget();
  using _signals = onTermination(() => stopped.dispatchEvent(new Event('signal')));
  const signal = once(stopped, 'signal');
  const folder = new S3Folder(resolve(options.data));
  const credentials = keysFromEnv(options) ?? (await folder.keys());
  await folder.ensureBuckets(options.bucket ?? []);
  const { host, port, region, fsync } = options;
  const logFormat = terminal.isInteractive ? 'text' : 'json';
  const logger = createLogger({ level: 'info', format: logFormat, write: (line) => terminal.writeRaw(line) });
  await using server = await S3Server.start({
    dataDir: folder.store,
    host,
    port,
    region,
    fsync,
    credentials,
    logger,
  });
  const { accessKeyId } = credentials;
  if (options.json) {
    terminal.printJson({ endpoint: server.endpoint, region, accessKeyId, data: folder.store });
  } else {
    terminal.print(`${server.endpoint}  region ${region}  access key ${accessKeyId}  data ${folder.store}`);
    terminal.say('Ctrl-C stops.');
  }
  await signal;
  return ExitCode.OK;
}

/** Secrets come by environment variable, so that no process list shows them. */
function keysFromEnv({ accessKeyEnv, secretKeyEnv }: S3ServerOptions): S3Keys | undefined {
  const accessKeyId = process.env[accessKeyEnv];
  const secretAccessKey = process.env[secretKeyEnv];
  if (accessKeyId && secretAccessKey) return { accessKeyId, secretAccessKey };
  if (!accessKeyId && !secretAccessKey) return undefined;
  const [set, missing] = accessKeyId ? [accessKeyEnv, secretKeyEnv] : [secretKeyEnv, accessKeyEnv];
  throw new GatewayError('cli.half-credentials', `${set} is set, but ${missing} is not.`, {
    fix: `Set both, or neither: then a key is made and kept in the data folder.`,
  });
}
