import { BlockError, GatewayError } from '../../core/plugin.ts';
import type { S3Config } from './config.ts';
import { isStoreError, type StoreError } from './store/store-error.ts';

/** What a guest's request fails with. */
export function toBlockError(error: unknown): unknown {
  if (!isStoreError(error)) return error;
  const code =
    error.kind === 'timeout' ? 'ETIMEDOUT' : error.kind === 'unreachable' ? 'ECONNLOST' : ('EIO' as const);
  return new BlockError(code, `the store failed: ${error.message}`, {
    retriable: error.transient,
    cause: error,
  });
}

/** What a person is told when the store refuses an operation of the control plane. Other errors pass unchanged. */
export function toGatewayError(error: unknown, config: S3Config): unknown {
  if (!isStoreError(error)) return error;
  const { summary, fix } = explain(error, config);
  return new GatewayError(codeOf(error), summary, { why: reason(error), fix, cause: error });
}

/** Runs an operation of the control plane, and explains what the store refuses. */
export async function explained<T>(config: S3Config, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    throw toGatewayError(error, config);
  }
}

function codeOf({ kind }: StoreError): string {
  switch (kind) {
    case 'unreachable':
    case 'timeout':
    case 'throttled':
    case 'server':
      return 's3.unavailable';
    case 'untrusted':
      return 's3.untrusted-certificate';
    case 'no-bucket':
      return 's3.bucket-not-found';
    case 'wrong-region':
      return 's3.wrong-region';
    case 'bad-credentials':
      return 's3.bad-credentials';
    case 'access-denied':
      return 's3.access-denied';
    case 'clock-skew':
      return 's3.clock-skew';
    default:
      return 's3.refused';
  }
}

function explain(error: StoreError, config: S3Config): { readonly summary: string; readonly fix: string } {
  const { bucket } = config;
  const store = config.endpoint ?? `AWS S3${config.region === undefined ? '' : ` in ${config.region}`}`;
  switch (error.kind) {
    case 'unreachable':
    case 'timeout':
      return {
        summary: `The S3 store ${store} cannot be reached.`,
        fix: 'Check "endpoint", the network, and that the server runs.',
      };
    case 'untrusted':
      return {
        summary: `The S3 store ${store} shows a certificate that is not trusted.`,
        fix: 'Name the file of its certificate authority in "tls.ca".',
      };
    case 'throttled':
    case 'server':
      return {
        summary: `The S3 store ${store} does not work at the moment.`,
        fix: 'Try again later; look into the log of the server if it is yours.',
      };
    case 'no-bucket':
      return {
        summary: `There is no bucket "${bucket}" at ${store}.`,
        fix: 'Correct "bucket", or create the bucket.',
      };
    case 'wrong-region':
      return {
        summary: `The bucket "${bucket}" is not in the region that ${store} was asked in.`,
        fix: 'Set "region" to the region of the bucket.',
      };
    case 'bad-credentials':
      return {
        summary: `The S3 store ${store} does not accept the credentials.`,
        fix: 'Check "credentials" or "profile"; without them the AWS chain is used (environment, files, roles).',
      };
    case 'access-denied':
      return {
        summary: `The credentials do not allow what a disk needs in bucket "${bucket}".`,
        fix:
          config.layout === 'image'
            ? 'Allow s3:GetObject on the object, and s3:ListBucket on the bucket: without that a missing object looks like a forbidden one.'
            : 'Allow s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket on the bucket and its objects.',
      };
    case 'clock-skew':
      return {
        summary: `The clocks of this machine and of the S3 store ${store} differ too much.`,
        fix: 'Set the clock of this machine (timedatectl set-ntp true).',
      };
    default:
      return {
        summary: `The S3 store ${store} refused a request.`,
        fix: 'Check "endpoint": does an S3-compatible service answer there?',
      };
  }
}

/** The innermost message: what the store or the socket said. */
function reason(error: StoreError): string {
  const text = error.message.endsWith('.') ? error.message : `${error.message}.`;
  return error.status === undefined ? text : `${text.slice(0, -1)} (HTTP ${error.status}).`;
}
