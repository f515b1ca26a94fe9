import { S3Error } from './errors.ts';
import { RESPONSE_OVERRIDES } from './object-headers.ts';
import type { Operation } from './operation.ts';
import {
  createBucket,
  deleteBucket,
  getBucketLocation,
  getBucketVersioning,
  headBucket,
} from './operations/bucket.ts';
import { abortMultipartUpload, completeMultipartUpload } from './operations/complete-multipart-upload.ts';
import { copyObject } from './operations/copy-object.ts';
import { createMultipartUpload } from './operations/create-multipart-upload.ts';
import { deleteObject, deleteObjects } from './operations/delete-objects.ts';
import { getObject, headObject } from './operations/get-object.ts';
import { listObjects, listObjectsV2 } from './operations/list-objects.ts';
import { listMultipartUploads, listParts } from './operations/list-uploads.ts';
import { putObject } from './operations/put-object.ts';
import { listBuckets } from './operations/service.ts';
import { uploadPart, uploadPartCopy } from './operations/upload-part.ts';
import { header, type S3Request } from './request.ts';

/** One row: which requests are this operation, and which further parameters it understands. */
interface Route {
  readonly target: 'service' | 'bucket' | 'object';
  readonly method: string;
  /** Parameters that must be there. A value after `=` must be exactly that. */
  readonly requires?: readonly string[];
  /** Header that must be there. */
  readonly header?: string;
  readonly allows?: readonly string[];
  readonly run: Operation;
}

const LISTING = ['delimiter', 'encoding-type', 'max-keys', 'prefix'];

/** By the operation's name in the S3 API. The first row that fits is the one: the more specific stand first. */
const ROUTES = {
  ListBuckets: { target: 'service', method: 'GET', run: listBuckets },
  GetBucketLocation: { target: 'bucket', method: 'GET', requires: ['location'], run: getBucketLocation },
  GetBucketVersioning: {
    target: 'bucket',
    method: 'GET',
    requires: ['versioning'],
    run: getBucketVersioning,
  },
  ListMultipartUploads: {
    target: 'bucket',
    method: 'GET',
    requires: ['uploads'],
    allows: ['delimiter', 'encoding-type', 'key-marker', 'max-uploads', 'prefix', 'upload-id-marker'],
    run: listMultipartUploads,
  },
  ListObjectsV2: {
    target: 'bucket',
    method: 'GET',
    requires: ['list-type=2'],
    allows: [...LISTING, 'continuation-token', 'fetch-owner', 'start-after'],
    run: listObjectsV2,
  },
  ListObjects: { target: 'bucket', method: 'GET', allows: [...LISTING, 'marker'], run: listObjects },
  HeadBucket: { target: 'bucket', method: 'HEAD', run: headBucket },
  CreateBucket: { target: 'bucket', method: 'PUT', run: createBucket },
  DeleteBucket: { target: 'bucket', method: 'DELETE', run: deleteBucket },
  DeleteObjects: { target: 'bucket', method: 'POST', requires: ['delete'], run: deleteObjects },
  ListParts: {
    target: 'object',
    method: 'GET',
    requires: ['uploadId'],
    allows: ['encoding-type', 'max-parts', 'part-number-marker'],
    run: listParts,
  },
  GetObject: { target: 'object', method: 'GET', allows: RESPONSE_OVERRIDES, run: getObject },
  HeadObject: { target: 'object', method: 'HEAD', allows: RESPONSE_OVERRIDES, run: headObject },
  UploadPartCopy: {
    target: 'object',
    method: 'PUT',
    requires: ['uploadId', 'partNumber'],
    header: 'x-amz-copy-source',
    run: uploadPartCopy,
  },
  UploadPart: { target: 'object', method: 'PUT', requires: ['uploadId', 'partNumber'], run: uploadPart },
  CopyObject: { target: 'object', method: 'PUT', header: 'x-amz-copy-source', run: copyObject },
  PutObject: { target: 'object', method: 'PUT', run: putObject },
  AbortMultipartUpload: {
    target: 'object',
    method: 'DELETE',
    requires: ['uploadId'],
    run: abortMultipartUpload,
  },
  DeleteObject: { target: 'object', method: 'DELETE', run: deleteObject },
  CreateMultipartUpload: {
    target: 'object',
    method: 'POST',
    requires: ['uploads'],
    run: createMultipartUpload,
  },
  CompleteMultipartUpload: {
    target: 'object',
    method: 'POST',
    requires: ['uploadId'],
    run: completeMultipartUpload,
  },
} as const satisfies Record<string, Route>;

export type OperationName = keyof typeof ROUTES;

const ROUTE_LIST = Object.entries(ROUTES) as (readonly [OperationName, Route])[];

/** Headers that would change what the operation means; to ignore them would be a success that is not true. */
const UNSUPPORTED_HEADERS =
  /^x-amz-(server-side-encryption|tagging|object-lock|website-redirect|grant-|write-offset|copy-source-server-side|bucket-object-lock|object-ownership|if-match-)/;

/** Finds the operation that a request asks for. Anything it asks beyond that is `NotImplemented`, never ignored. */
export function route(request: S3Request): { readonly name: OperationName; readonly run: Operation } {
  const target = request.bucket === undefined ? 'service' : request.key === undefined ? 'bucket' : 'object';
  const candidates = ROUTE_LIST.filter(([, row]) => row.target === target && row.method === request.method);
  const found = candidates.find(([, row]) => fits(row, request));
  if (!found) {
    if (request.query.pairs.length > 0) throw new S3Error('NotImplemented');
    throw new S3Error('MethodNotAllowed', undefined, { Method: request.method });
  }
  const [name, row] = found;
  requireKnownParameters(row, request);
  requireKnownHeaders(request);
  return { name, run: row.run };
}

function fits(row: Route, request: S3Request): boolean {
  if (row.header !== undefined && header(request, row.header) === undefined) return false;
  return (row.requires ?? []).every((requirement) => {
    const [name, value] = requirement.split('=');
    return value === undefined ? request.query.has(name!) : request.query.get(name!) === value;
  });
}

function requireKnownParameters(row: Route, request: S3Request): void {
  for (const [name, value] of request.query.pairs) {
    const known =
      row.requires?.some((requirement) => requirement.split('=')[0] === name) ||
      row.allows?.includes(name) ||
      name === 'x-id' ||
      (name === 'versionId' && value === 'null') ||
      /^x-amz-/i.test(name);
    if (!known) throw new S3Error('NotImplemented', undefined, { Parameter: name });
  }
}

function requireKnownHeaders(request: S3Request): void {
  const unsupported = Object.keys(request.headers).find((name) => UNSUPPORTED_HEADERS.test(name));
  if (unsupported !== undefined) throw new S3Error('NotImplemented', undefined, { Header: unsupported });
  const acl = header(request, 'x-amz-acl');
  if (acl !== undefined && acl !== 'private' && acl !== 'bucket-owner-full-control') {
    throw new S3Error('AccessControlListNotSupported');
  }
  const storageClass = header(request, 'x-amz-storage-class');
  if (storageClass !== undefined && storageClass !== 'STANDARD') throw new S3Error('InvalidStorageClass');
}
