import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { GatewayError } from '../api/errors.ts';
import type { Logger } from '../api/logger.ts';
import type { FaultPlan } from './faults.ts';
import { ObjectStore } from './object-store.ts';
import { RequestHandler } from './request-handler.ts';
import { RequestLog } from './request-log.ts';
import { type Credentials, SignatureVerifier } from './sigv4.ts';

export interface S3ServerOptions {
  /** Created if missing; one server at a time owns it. */
  readonly dataDir: string;
  readonly credentials: Credentials;
  /** Address to listen on. Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: any free port. */
  readonly port?: number;
  /** Default us-east-1. Requests signed for another region are refused. */
  readonly region?: string;
  /** Whether an acknowledged change survives a power failure. Default true; without, it survives a crash of the server. */
  readonly fsync?: boolean;
  /** Objects in all buckets together; bounds the index in memory, some 500 bytes each. Default 1 000 000. */
  readonly maxObjects?: number;
  /** Open connections; more are closed at once. Default 1024. */
  readonly maxConnections?: number;
  /** A connection on which nothing moves for so long is closed. Milliseconds; default 60 000. */
  readonly idleTimeoutMs?: number;
  /** Requests that `requests` remembers. Default 1000. */
  readonly requestLogSize?: number;
  readonly faults?: FaultPlan;
  readonly logger?: Logger;
  /** PEM. With it the server speaks HTTPS only. */
  readonly tls?: { readonly key: string | Buffer; readonly cert: string | Buffer };
  /** Milliseconds since 1970, for checking the age of signatures. Default Date.now. */
  readonly now?: () => number;
}

/**
 * A small S3 server on a local folder, for demonstration, tests and development. Disposing stops it and gives the
 * folder back.
 */
export class S3Server implements AsyncDisposable {
  /** The latest requests, for tests to look at. */
  readonly requests: RequestLog;
  readonly #options: S3ServerOptions;
  readonly #store: ObjectStore;
  readonly #handler: RequestHandler;
  readonly #underway = new Set<Promise<void>>();
  #http: Server | undefined;
  #port = 0;
  #stopping = new AbortController();
  #paused: PromiseWithResolvers<void> | undefined;

  private constructor(options: S3ServerOptions, store: ObjectStore) {
    this.#options = options;
    this.#store = store;
    this.requests = new RequestLog(options.requestLogSize ?? 1000);
    const region = options.region ?? 'us-east-1';
    this.#handler = new RequestHandler({
      store,
      verifier: new SignatureVerifier(options.credentials, region, options.now),
      region,
      log: this.requests,
      logger: options.logger,
    });
    this.#handler.setFaults(options.faults ?? {});
  }

  /** Opens the data folder and listens. Throws a `GatewayError` when either is not possible. */
  static async start(options: S3ServerOptions): Promise<S3Server> {
    await using stack = new AsyncDisposableStack();
    const store = stack.use(
      await ObjectStore.open({
        dataDir: options.dataDir,
        fsync: options.fsync ?? true,
        maxObjects: options.maxObjects ?? 1_000_000,
        logger: options.logger,
      }),
    );
    const server = new S3Server(options, store);
    await server.start();
    stack.move();
    return server;
  }

  get port(): number {
    return this.#port;
  }

  /** `http://host:port`, for path-style requests. */
  get endpoint(): string {
    const host = this.#options.host ?? '127.0.0.1';
    const name = host.includes(':') ? `[${host}]` : host;
    return `${this.#options.tls ? 'https' : 'http'}://${name}:${this.#port}`;
  }

  /** Replaces the faults to inject; `{}` ends them. */
  setFaults(plan: FaultPlan): void {
    this.#handler.setFaults(plan);
  }

  /** Lets requests in but answers none until `resume()`. */
  pause(): void {
    this.#paused ??= Promise.withResolvers();
  }

  resume(): void {
    this.#paused?.resolve();
    this.#paused = undefined;
  }

  /** Listens again after `stop()`, on the same port. */
  async start(): Promise<void> {
    if (this.#http) return;
    const http = this.#createHttpServer();
    const host = this.#options.host ?? '127.0.0.1';
    const port = this.#port || (this.#options.port ?? 0);
    this.#stopping = new AbortController();
    await listen(http, host, port);
    this.#http = http;
    this.#port = (http.address() as AddressInfo).port;
  }

  /** Cuts every connection and refuses new ones; returns when no request is being carried out any more. */
  async stop(): Promise<void> {
    const http = this.#http;
    if (!http) return;
    this.#http = undefined;
    const closed = new Promise<void>((resolve) => http.close(() => resolve()));
    this.#stopping.abort();
    this.resume();
    http.closeAllConnections();
    await closed;
    await Promise.all(this.#underway);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#store[Symbol.asyncDispose]();
  }

  #createHttpServer(): Server {
    const { tls, maxConnections = 1024, idleTimeoutMs = 60_000 } = this.#options;
    // No limit for a request as a whole: a large body may take its time as long as it moves.
    const limits = { requestTimeout: 0, headersTimeout: 20_000, keepAliveTimeout: 30_000, noDelay: true };
    const listener = (incoming: IncomingMessage, response: ServerResponse) => {
      const done = this.#handle(incoming, response).finally(() => this.#underway.delete(done));
      this.#underway.add(done);
    };
    const http: Server = tls
      ? createTlsServer({ ...limits, key: tls.key, cert: tls.cert }, listener)
      : createServer(limits, listener);
    http.on('checkContinue', listener);
    http.maxConnections = maxConnections;
    http.setTimeout(idleTimeoutMs);
    return http;
  }

  async #handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const { signal } = this.#stopping;
    await this.#paused?.promise;
    if (signal.aborted) return void response.destroy();
    await this.#handler.handle(incoming, response, signal);
  }
}

async function listen(http: Server, host: string, port: number): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      http.once('error', reject);
      http.listen(port, host, () => {
        http.off('error', reject);
        resolve();
      });
    });
  } catch (cause) {
    const inUse = (cause as NodeJS.ErrnoException).code === 'EADDRINUSE';
    throw new GatewayError('s3-server.listen-failed', `The S3 server cannot listen on ${host}:${port}.`, {
      why: inUse ? 'Another process listens there.' : (cause as Error).message,
      fix: inUse
        ? 'Stop that process, or choose another port; 0 takes any free one.'
        : 'Choose an address of this machine.',
      cause,
    });
  }
}
