import type { S3Config } from '../config.ts';

/** Requests as bills list them. */
export const REQUEST_CLASSES = ['PUT', 'LIST', 'GET', 'HEAD', 'DELETE'] as const;
export type RequestClass = (typeof REQUEST_CLASSES)[number];

/** What a store charges. Dollars. */
export interface Prices {
  /** For 1000 requests: of PUT and LIST, of GET and HEAD, of DELETE. */
  readonly put: number;
  readonly get: number;
  readonly delete: number;
  /** For a GiB a month. */
  readonly storage: number;
  /** For a GiB that is sent to the store, and for one that it sends. */
  readonly transferIn: number;
  readonly transferOut: number;
}

/** S3 Standard in us-east-1, asked from within the region. */
export const S3_STANDARD: Prices = {
  put: 0.005,
  get: 0.0004,
  delete: 0,
  storage: 0.023,
  transferIn: 0,
  transferOut: 0,
};

const FREE: Prices = { put: 0, get: 0, delete: 0, storage: 0, transferIn: 0, transferOut: 0 };

const AWS = /\.amazonaws\.com(\.cn)?$/;

/** What the configuration says; of what it does not say, the price of AWS where the store is theirs, and nothing elsewhere. */
export function pricesOf({ prices, endpoint }: Pick<S3Config, 'prices' | 'endpoint'>): Prices {
  const isAws = endpoint === undefined || AWS.test(new URL(endpoint).hostname);
  return { ...(isAws ? S3_STANDARD : FREE), ...prices };
}

/** Dollars for one request, its bytes aside. */
export function requestPrice(kind: RequestClass, { put, get, delete: remove }: Prices): number {
  const thousand = kind === 'DELETE' ? remove : kind === 'PUT' || kind === 'LIST' ? put : get;
  return thousand / 1000;
}

/** Dollars for keeping so many bytes for a month. */
export const pricePerMonth = (bytes: number, config: Parameters<typeof pricesOf>[0]): number =>
  Number(pricePerGib(bytes, pricesOf(config).storage).toFixed(4));

/** Dollars for so many bytes at the price of a GiB. */
export const pricePerGib = (bytes: number, price: number): number => (bytes / 2 ** 30) * price;
