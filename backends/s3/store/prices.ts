/** Requests as stores charge for them; LIST is charged as PUT, HEAD as GET. */
export type RequestClass = 'PUT' | 'GET' | 'DELETE';

/** S3 Standard in us-east-1: dollars per request. */
export const REQUEST_PRICE: Readonly<Record<RequestClass, number>> = { PUT: 5e-6, GET: 4e-7, DELETE: 0 };

/** S3 Standard in us-east-1: dollars per GiB and month. */
const STORAGE_PRICE = 0.023;

/**
 * Dollars per GiB that is sent or received. Within a region nobody charges for it, but it takes bandwidth from the disk: what
 * it is worth not to move a GiB, half of what AWS takes between zones.
 */
const TRANSFER_PRICE = 0.005;

/** Dollars for moving so many bytes. */
export const transferPrice = (bytes: number): number => (bytes / 2 ** 30) * TRANSFER_PRICE;

/** Dollars for keeping so many bytes so many months. */
export const storagePrice = (bytes: number, months: number): number =>
  (bytes / 2 ** 30) * months * STORAGE_PRICE;
