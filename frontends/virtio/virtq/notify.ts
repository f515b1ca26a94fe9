/**
 * VIRTIO 1.3 section 2.7.7.2: is `event` among the indices that moving from `old` to `next` passed? Indices run
 * freely modulo 2^16.
 */
export function needEvent(event: number, next: number, old: number): boolean {
  return ((next - event - 1) & 0xffff) < ((next - old) & 0xffff);
}
