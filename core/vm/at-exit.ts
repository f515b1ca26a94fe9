const actions = new Set<() => void>();

/**
 * Runs `action` when this process exits, unless it is disposed of before: for what must not be left behind even if an
 * error or process.exit() skips the ordinary clean-up. Synchronous, like everything at that point.
 */
export function atExit(action: () => void): Disposable {
  if (actions.size === 0) process.once('exit', runAll);
  actions.add(action);
  return {
    [Symbol.dispose]: () => {
      actions.delete(action);
      if (actions.size === 0) process.off('exit', runAll);
    },
  };
}

function runAll(): void {
  for (const action of actions) action();
}
