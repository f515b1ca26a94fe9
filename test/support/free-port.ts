import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** Below every range from which Linux takes the ports of outgoing connections (ip_local_port_range). */
const FIRST = 20_000;
const END = 32_000;

/**
 * A random loopback port that is free now, for a server that goes away and comes back under load. Not one of the
 * ephemeral range: a client that keeps trying to connect to such a port while nobody listens will one day be given it
 * as its own source port, is then connected to itself, and the server finds its port taken.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST, END);
    if (await canListen(port)) return port;
  }
}

/** The same for a server that takes the port `above` it as well. */
export async function freePortWith(above: number): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST, END - above);
    if ((await canListen(port)) && (await canListen(port + above))) return port;
  }
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
