/** The one disk of the demo. */
export const DISK = 'demo';
export const BUCKET = 'demo';
export const PREFIX = 'disks/demo';
export const VOLUME_SIZE = '1GiB';
