import type { MaybePromise } from '../../core/api/device.ts';
import { GatewayError } from '../../core/api/errors.ts';
import type { Logger } from '../../core/api/logger.ts';
import type { Reactor, Watch } from '../../core/system/reactor.ts';
import { brokenDevice, type VduseDevice } from './device.ts';
import { decodeRequest, describeRequest, encodeReply, type Reply, type Request } from './messages.ts';

export interface Answer extends Reply {
  /** Runs once the kernel has the reply. */
  readonly afterwards?: () => void;
}

export interface MessageLoopOptions {
  readonly device: VduseDevice;
  readonly reactor: Reactor;
  readonly logger: Logger;
  /** Answers one message. The next is not handed out before this one is answered. */
  readonly onRequest: (request: Request) => MaybePromise<Answer>;
  /** The kernel sends nothing any more; called at most once. */
  readonly onBroken: (error: Error) => void;
}

/**
 * Reads the kernel's messages and answers each, in order. A message that waits too long for its answer breaks the
 * device for good, so nothing here waits for a store: `onRequest` bounds its own time.
 */
export class MessageLoop implements Disposable {
  readonly #options: MessageLoopOptions;
  readonly #pending: Request[] = [];
  #watch: Watch | undefined;
  #answering = false;
  #closed = false;

  constructor(options: MessageLoopOptions) {
    this.#options = options;
  }

  start(): void {
    const { reactor, device } = this.#options;
    this.#watch = reactor.watch(device.fd, (readiness) => {
      if (readiness === 'error') this.#break(brokenDevice(device.name));
      else this.receive();
    });
  }

  /** Takes what is there now. A message that was left by an earlier process is there before the first wait. */
  receive(): void {
    const { device } = this.#options;
    try {
      for (;;) {
        if (this.#closed) return;
        const bytes = device.readMessage();
        if (bytes === undefined) break;
        const request = decodeRequest(bytes);
        if (request === undefined) throw new Error(`a message of ${bytes.length} bytes is too short`);
        this.#pending.push(request);
      }
      this.#answerNext();
    } catch (cause) {
      this.#break(unreadable(device.name, cause));
    }
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#pending.length = 0;
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }

  #answerNext(): void {
    while (!this.#answering && !this.#closed) {
      const request = this.#pending.shift();
      if (request === undefined) return;
      const answer = this.#ask(request);
      if (answer instanceof Promise) {
        this.#answering = true;
        void answer.then((later) => {
          this.#answering = false;
          this.#finish(request, later);
          this.#answerNext();
        });
      } else {
        this.#finish(request, answer);
      }
    }
  }

  /** Never throws, never rejects: whatever goes wrong, the kernel gets an answer. */
  #ask(request: Request): MaybePromise<Answer> {
    const failed = (error: unknown): Answer => {
      this.#options.logger.error('a message of the kernel could not be carried out', {
        message: describeRequest(request),
        error,
      });
      return { ok: false };
    };
    try {
      const answer = this.#options.onRequest(request);
      return answer instanceof Promise ? answer.catch(failed) : answer;
    } catch (error) {
      return failed(error);
    }
  }

  #finish(request: Request, answer: Answer): void {
    if (this.#closed) return;
    const { device, logger } = this.#options;
    try {
      const awaited = device.writeReply(encodeReply(request.id, answer));
      logger.debug('message answered', { message: describeRequest(request), ok: answer.ok, awaited });
      if (awaited) answer.afterwards?.();
    } catch (cause) {
      this.#break(unreadable(device.name, cause));
    }
  }

  #break(error: Error): void {
    if (this.#closed) return;
    this[Symbol.dispose]();
    this.#options.onBroken(error);
  }
}

function unreadable(name: string, cause: unknown): GatewayError {
  return new GatewayError(
    'vduse.messages-failed',
    `The messages of VDUSE device "${name}" cannot be handled.`,
    {
      why: cause instanceof Error ? cause.message : String(cause),
      fix: 'Stop the disk and start it again.',
      cause,
    },
  );
}
