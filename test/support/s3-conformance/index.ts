import { authenticationChecks } from './authentication.ts';
import { concurrencyChecks } from './concurrency.ts';
import { conditionalWriteChecks } from './conditional-writes.ts';
import { type Check, CheckContext } from './context.ts';
import { integrityChecks } from './integrity.ts';
import { listingChecks } from './listing.ts';
import { multipartChecks } from './multipart.ts';
import { objectChecks } from './objects.ts';
import type { S3Target } from './raw-client.ts';
import { readChecks } from './reads.ts';

/** What blockgate relies on in an S3 server, and what it expects of its own. By area. */
export const CONFORMANCE: Readonly<Record<string, readonly Check[]>> = {
  objects: objectChecks,
  reads: readChecks,
  listing: listingChecks,
  'conditional writes': conditionalWriteChecks,
  multipart: multipartChecks,
  integrity: integrityChecks,
  authentication: authenticationChecks,
  concurrency: concurrencyChecks,
};

/** Runs one check in a bucket of its own, which is removed afterwards. */
export async function runCheck(check: Check, target: S3Target): Promise<void> {
  await using context = await CheckContext.create(target);
  try {
    await check.run(context);
  } catch (error) {
    throw isSdkError(error) ? new Error(`${error.name}: ${error.message}\n${error.stack}`) : error;
  }
}

/** The SDK hangs the whole HTTP exchange on its errors, which makes a failed test unreadable. */
function isSdkError(error: unknown): error is Error {
  return error instanceof Error && '$metadata' in error;
}
