import { CONFIGURATION_ERRORS } from './error-codes/configuration.ts';
import { COPY_ERRORS } from './error-codes/copies.ts';
import { DISK_ERRORS } from './error-codes/disks.ts';
import type { ErrorDocs } from './error-codes/error-docs.ts';
import { FILTER_ERRORS } from './error-codes/filters.ts';
import { NBD_ERRORS } from './error-codes/nbd.ts';
import { PLUGIN_ERRORS } from './error-codes/plugins.ts';
import { REDIS_ERRORS } from './error-codes/redis.ts';
import { STORE_ERRORS } from './error-codes/stores.ts';
import { TOOL_ERRORS } from './error-codes/tools.ts';

/** Every code that a `GatewayError` of blockgate itself can have, by chapter of docs/errors.md. */
export const ERROR_CODES: Readonly<Record<string, ErrorDocs>> = {
  'Configuration and command line': CONFIGURATION_ERRORS,
  Plugins: PLUGIN_ERRORS,
  Filters: FILTER_ERRORS,
  'Disks and VDUSE': DISK_ERRORS,
  'Stores and volumes': STORE_ERRORS,
  'Import and export': COPY_ERRORS,
  NBD: NBD_ERRORS,
  Redis: REDIS_ERRORS,
  'S3 server, demo and test VM': TOOL_ERRORS,
};
