/** SIGHUP is the terminal going away. */
const TERMINATION = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Calls `handler` for each signal that asks the process to end, instead of ending it, until disposed of. */
export function onTermination(handler: (signal: NodeJS.Signals) => void): Disposable {
  for (const signal of TERMINATION) process.on(signal, handler);
  return {
    [Symbol.dispose]: () => {
      for (const signal of TERMINATION) process.off(signal, handler);
    },
  };
}
