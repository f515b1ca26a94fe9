/** SIGHUP is the terminal going away. */
const TERMINATION = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Calls `handler` for each signal that asks the process to end, instead of ending it, until disposed of. To react
 * differently later, change what the handler does: a signal that is on its way while one listener is replaced by
 * another reaches neither.
 */
export function onTermination(handler: (signal: NodeJS.Signals) => void): Disposable {
  for (const signal of TERMINATION) process.on(signal, handler);
  return {
    [Symbol.dispose]: () => {
      for (const signal of TERMINATION) process.off(signal, handler);
    },
  };
}
