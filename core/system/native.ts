import koffi from 'koffi';

/**
 * libc, loaded once. Everything that calls the kernel directly lives in this folder.
 *
 * Pointers are declared `int64_t` and passed as JavaScript numbers (user addresses are below 2^47, hence exact):
 * that keeps a call on koffi's fast path, which any pointer, callback or output type would leave.
 */
export const libc = koffi.load('libc.so.6');

/** errno of the last failed call on this thread; read it before anything else can run. */
export const errno = (): number => koffi.errno();
