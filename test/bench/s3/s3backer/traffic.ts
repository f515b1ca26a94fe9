/** What went to a store and came back. */
export interface Traffic {
  readonly requests: number;
  /** Bytes of the bodies of requests. */
  readonly sent: number;
  /** Bytes of the bodies of responses. */
  readonly received: number;
}

export const CREDENTIALS = { accessKeyId: 'test', secretAccessKey: 'test-secret-key' } as const;
