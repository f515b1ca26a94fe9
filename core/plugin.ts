/** `blockgate/plugin`: everything a plugin may use. In-tree backends import this file and nothing else of core. */
export * from './api/backend.ts';
export * from './api/device.ts';
export * from './api/errors.ts';
export * from './api/filter.ts';
export * from './api/frontend.ts';
export type { LogFields, Logger } from './api/logger.ts';
export type { ConfigSchema } from './api/schema.ts';
export { API_VERSION } from './api/version.ts';
export { type BackoffOptions, backoffMs, sleep } from './util/backoff.ts';
export { type SizeRange, secretSchema, sizeSchema } from './util/config-types.ts';
export { copyIn, copyOut, fillZero, iovLength, iovSlice } from './util/iov.ts';
export { resolveSecret, Secret, type SecretRef } from './util/secret.ts';
export { Semaphore } from './util/semaphore.ts';
export { formatSize, parseSize } from './util/size.ts';
