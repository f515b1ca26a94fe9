/** A machine with VDUSE for the demo's disk: this one, or a virtual one. */
export interface Playground extends AsyncDisposable {
  /** For a person, e.g. `a virtual machine with Linux 6.12`. */
  readonly description: string;
  /** Address under which servers on this machine's loopback are reached there. */
  readonly hostAddress: string;
  /** Where the demo's folder is seen there. */
  readonly folder: string;
  /** Runs a command to its end; resolves with its exit status. Rejects when the demo is interrupted. */
  run(command: readonly string[], options: PlaygroundRun): Promise<number>;
  /** The same with the terminal of this process. */
  runInTerminal(command: readonly string[], env: Readonly<Record<string, string>>): Promise<number>;
}

export interface PlaygroundRun {
  readonly env: Readonly<Record<string, string>>;
  /** Gets each line that the command prints. */
  readonly onLine: (line: string) => void;
}
