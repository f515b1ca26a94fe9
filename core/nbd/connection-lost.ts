/** The peer does not keep to the protocol, or the connection broke: it is of no use any more. */
export class ConnectionLost extends Error {}
