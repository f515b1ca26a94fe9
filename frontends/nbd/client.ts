import type { Socket } from 'node:net';
import type { Volume } from '../../core/api/device.ts';
import type { Logger } from '../../core/api/logger.ts';
import { ConnectionLost } from '../../core/nbd/connection-lost.ts';
import { exportOffer } from './export-offer.ts';
import { Negotiation, type Secure } from './negotiation.ts';
import { Transmission } from './transmission.ts';

/** From the first byte to the end of the negotiation. Milliseconds. */
const NEGOTIATION_MS = 60_000;

export interface ClientOptions {
  readonly volume: Volume;
  readonly exportName: string;
  readonly secure: Secure | undefined;
  readonly logger: Logger;
}

/** One connection, from its first byte to its last. Nothing that a client does is an error of the disk. */
export class Client {
  /** Who it is, for a person. */
  readonly name: string;
  readonly #socket: Socket;
  #transmission: Transmission | undefined;

  constructor(socket: Socket, nth: number) {
    this.#socket = socket;
    const { remoteAddress, remotePort } = socket;
    this.name = remoteAddress === undefined ? `connection ${nth}` : `${remoteAddress} port ${remotePort}`;
    // The errors that matter have listeners of their own; one without any would end the process.
    socket.on('error', () => {});
  }

  /** It has chosen the export. */
  get isServed(): boolean {
    return this.#transmission !== undefined;
  }

  /** Settles when the connection is closed. */
  async serve({ volume, exportName, secure, logger }: ClientOptions): Promise<void> {
    const late = new ConnectionLost('the client takes too long to negotiate');
    const timer = setTimeout(() => this.#socket.destroy(late), NEGOTIATION_MS);
    try {
      const offer = exportOffer(volume, exportName);
      const negotiated = await new Negotiation(this.#socket, offer, secure).run();
      clearTimeout(timer);
      if (negotiated === undefined) return;
      const { socket, rest, ...format } = negotiated;
      this.#transmission = new Transmission(socket, volume, format, rest);
      logger.debug('an NBD client is served', { client: this.name, ...format });
      const reason = await this.#transmission.over;
      if (reason !== undefined) throw reason;
    } catch (error) {
      logger.info('an NBD client is given up', { client: this.name, why: (error as Error).message });
    } finally {
      clearTimeout(timer);
      // What it has been told last is still on its way.
      this.#socket.destroySoon();
    }
  }

  /** Settles when none of its requests is under way. It can make no more. */
  async quiesce(): Promise<void> {
    if (this.#transmission === undefined) this.#socket.destroy();
    await this.#transmission?.quiesce();
  }

  /** Ends the connection: with the replies that are due, as far as the client fetches them. */
  async close(): Promise<void> {
    if (this.#transmission === undefined) this.#socket.destroy();
    else await this.#transmission.finish();
  }
}
