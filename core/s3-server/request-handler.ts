import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from '../api/logger.ts';
import { sleep } from '../util/backoff.ts';
import { BodyReader } from './body.ts';
import { errorDocument, S3Error } from './errors.ts';
import { type Fault, FaultInjector, type FaultPlan } from './faults.ts';
import type { ObjectStore } from './object-store.ts';
import type { S3Response } from './operation.ts';
import { parseRequest, type S3Request } from './request.ts';
import type { RequestLog } from './request-log.ts';
import { type OperationName, route } from './router.ts';
import { sendResponse } from './send-response.ts';
import type { SignatureVerifier } from './sigv4.ts';

export interface RequestHandlerParts {
  readonly store: ObjectStore;
  readonly verifier: SignatureVerifier;
  readonly region: string;
  readonly log: RequestLog;
  readonly logger: Logger | undefined;
}

/** What becomes known of a request while it is dealt with. */
interface Progress {
  request?: S3Request;
  operation?: OperationName;
  body?: BodyReader;
  fault?: Fault | undefined;
  errorCode?: string;
  status?: number;
  bytesOut: number;
}

/** From an HTTP request to its answer: signature, route, faults, operation, response or error document. */
export class RequestHandler {
  readonly #parts: RequestHandlerParts;
  #faults = new FaultInjector();
  #ids = 0;

  constructor(parts: RequestHandlerParts) {
    this.#parts = parts;
  }

  /** Replaces the plan; requests under way keep the fault they drew. */
  setFaults(plan: FaultPlan): void {
    this.#faults = new FaultInjector(plan);
  }

  /** Never rejects. `signal` aborts the waits of injected faults; the request then gets no answer. */
  async handle(incoming: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const at = Date.now();
    const id = (this.#ids++).toString(16).toUpperCase().padStart(16, '0');
    const progress: Progress = { bytesOut: 0 };
    response.on('error', () => {});
    response.setHeader('x-amz-request-id', id);
    try {
      await this.#answer(incoming, response, { id, progress, signal });
    } catch (error) {
      await this.#answerError(error, incoming, response, { id, progress, signal });
    }
    const { request, operation, body, fault, status, errorCode, bytesOut } = progress;
    this.#parts.log.add({
      at,
      method: incoming.method ?? '',
      operation,
      bucket: request?.bucket,
      key: request?.key,
      status,
      errorCode,
      bytesIn: body?.bytes ?? 0,
      bytesOut,
      faulted: fault !== undefined,
    });
  }

  async #answer(incoming: IncomingMessage, response: ServerResponse, exchange: Exchange): Promise<void> {
    const { id, progress, signal } = exchange;
    const { store, verifier, region } = this.#parts;
    const request = parseRequest(incoming, id);
    progress.request = request;
    const payload = verifier.verify(request);
    const { name, run } = route(request);
    progress.operation = name;
    const { method, bucket, key } = request;
    const fault = this.#faults.next({ operation: name, method, bucket, key });
    progress.fault = fault;
    if (fault?.delayMs) await sleep(fault.delayMs, signal);
    if (fault?.dropRequest) return void incoming.socket.destroy();
    if (fault?.error) throw new S3Error(fault.error);
    const body = new BodyReader(request, payload, response);
    progress.body = body;
    const result = await run({ request, body, store, region });
    await using _ = handleOf(result);
    if (fault?.stallMs) await sleep(fault.stallMs, signal);
    if (fault?.loseResponse) return void incoming.socket.destroy();
    progress.status = result.status;
    progress.bytesOut = await sendResponse(response, result, fault?.cutBodyAt);
  }

  async #answerError(
    thrown: unknown,
    incoming: IncomingMessage,
    response: ServerResponse,
    { id, progress, signal }: Exchange,
  ): Promise<void> {
    // Nobody is left to answer, or the answer has begun and can only be cut short.
    if (signal.aborted || incoming.socket.destroyed || response.headersSent) {
      if (!signal.aborted && !incoming.socket.destroyed) this.#report(thrown, progress);
      response.destroy();
      return;
    }
    const error = toS3Error(thrown);
    if (error.code === 'InternalError' && !progress.fault?.error) this.#report(thrown, progress);
    progress.errorCode = error.code;
    progress.status = error.status;
    // What is left of the body is read and dropped, so that the connection can carry the next request.
    incoming.resume();
    const path = progress.request?.rawPath ?? '';
    const body = incoming.method === 'HEAD' ? {} : { body: errorDocument(error, path, id) };
    progress.bytesOut = await sendResponse(response, { status: error.status, ...body });
  }

  #report(error: unknown, { operation, request }: Progress): void {
    this.#parts.logger?.error('request failed', {
      operation,
      bucket: request?.bucket,
      key: request?.key,
      error,
    });
  }
}

interface Exchange {
  readonly id: string;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

function handleOf({ body }: S3Response): AsyncDisposable | undefined {
  return typeof body === 'object' ? body.handle : undefined;
}

function toS3Error(thrown: unknown): S3Error {
  if (thrown instanceof S3Error) return thrown;
  if ((thrown as NodeJS.ErrnoException | undefined)?.code === 'ENOSPC') {
    return new S3Error('InsufficientStorage', 'The file system of the data folder is full.', {}, thrown);
  }
  return new S3Error('InternalError', undefined, {}, thrown);
}
