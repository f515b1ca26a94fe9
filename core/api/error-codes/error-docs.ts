interface ErrorDoc {
  /** What the code means, as a sentence. */
  readonly meaning: string;
  /** What usually helps, as a sentence; the error itself knows more. */
  readonly fix: string;
}

/** Code → its documentation. */
export type ErrorDocs = Readonly<Record<string, ErrorDoc>>;
