import { Command, InvalidArgumentError } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { collect } from '../gateway-options.ts';

export interface S3ServerOptions {
  readonly data: string;
  readonly host: string;
  readonly port: number;
  readonly region: string;
  readonly accessKeyEnv: string;
  readonly secretKeyEnv: string;
  readonly bucket?: readonly string[];
  readonly fsync: boolean;
  readonly json?: boolean;
}

const NOTES = `
For development: small, on disk, one process. Where neither environment variable is set, keys are made the first time
and kept below keys/ in the data folder, where plugins.json can name them: { "file": ".blockgate/s3/keys/…" }.

Examples:
  blockgate s3-server --data ./s3 --bucket disks
  AWS_ACCESS_KEY_ID=dev AWS_SECRET_ACCESS_KEY=dev-secret blockgate s3-server --data ./s3`;

export function s3ServerCommand(ctx: CommandContext): Command {
  return new Command('s3-server')
    .description('serve a folder as S3 buckets, for local development')
    .option('--data <folder>', 'where the buckets lie', '.blockgate/s3')
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--port <number>', 'port to listen on; 0 takes a free one', port, 9000)
    .option('--region <name>', 'region that requests are signed for', 'us-east-1')
    .option('--access-key-env <name>', 'environment variable with the access key', 'AWS_ACCESS_KEY_ID')
    .option('--secret-key-env <name>', 'environment variable with the secret key', 'AWS_SECRET_ACCESS_KEY')
    .option('--bucket <name>', 'a bucket to make if it is missing; repeatable', collect)
    .option('--no-fsync', 'faster; a power cut may lose objects')
    .option('--json', 'one JSON object when it is ready')
    .addHelpText('after', NOTES)
    .action(async (options: S3ServerOptions) => {
      const { serveS3 } = await import('../serve-s3.ts');
      ctx.exitCode = await serveS3(options, ctx.terminal);
    });
}

function port(value: string): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || number > 65_535) {
    throw new InvalidArgumentError('It has to be a number from 0 to 65535.');
  }
  return number;
}
