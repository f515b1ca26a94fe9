import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { GatewayError } from '../../api/errors.ts';
import { createLogger } from '../../observe/logger.ts';
import { S3Server } from '../../s3-server/server.ts';
import { onTermination } from '../signals.ts';
import type { S3ServerOptions } from './commands/s3-server.ts';
import { ExitCode } from './exit-code.ts';
import type { Terminal } from './terminal.ts';

interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** Serves S3 until a signal. Returns the exit status. */
export async function serveS3(options: S3ServerOptions, terminal: Terminal): Promise<number> {
  const stopped = new EventTarget();
  using _signals = onTermination(() => stopped.dispatchEvent(new Event('signal')));
  const signal = once(stopped, 'signal');
  const dataDir = resolve(options.data);
  await mkdir(dataDir, { recursive: true });
  const credentials = credentialsFromEnv(options) ?? (await ownCredentials(dataDir));
  const { host, port, region, fsync } = options;
  const logFormat = terminal.isInteractive ? 'text' : 'json';
  const logger = createLogger({ level: 'info', format: logFormat, write: (line) => terminal.writeRaw(line) });
  await using server = await S3Server.start({ dataDir, host, port, region, fsync, credentials, logger });
  if (options.json) {
    terminal.printJson({ endpoint: server.endpoint, region, accessKeyId: credentials.accessKeyId, dataDir });
  } else {
    terminal.print(
      `${server.endpoint}  region ${region}  access key ${credentials.accessKeyId}  data ${dataDir}`,
    );
    terminal.say('Ctrl-C stops.');
  }
  await signal;
  return ExitCode.OK;
}

/** Secrets come by environment variable, so that no process list shows them. */
function credentialsFromEnv({ accessKeyEnv, secretKeyEnv }: S3ServerOptions): Credentials | undefined {
  const accessKeyId = process.env[accessKeyEnv];
  const secretAccessKey = process.env[secretKeyEnv];
  if (accessKeyId && secretAccessKey) return { accessKeyId, secretAccessKey };
  if (!accessKeyId && !secretAccessKey) return undefined;
  const [set, missing] = accessKeyId ? [accessKeyEnv, secretKeyEnv] : [secretKeyEnv, accessKeyEnv];
  throw new GatewayError('cli.half-credentials', `${set} is set, but ${missing} is not.`, {
    fix: `Set both, or neither: then a key is made and kept in the data folder.`,
  });
}

/** Made at the first start, kept beside the buckets. */
async function ownCredentials(dataDir: string): Promise<Credentials> {
  const file = join(dataDir, 'credentials.json');
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Credentials;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const made = {
    accessKeyId: randomBytes(10).toString('hex'),
    secretAccessKey: randomBytes(20).toString('hex'),
  };
  await writeFile(file, `${JSON.stringify(made)}\n`, { mode: 0o600 });
  await chmod(file, 0o600);
  return made;
}
