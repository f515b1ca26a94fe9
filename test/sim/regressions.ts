/**
 * Runs that found something once, as they were printed with it: options of `npm run sim`. With the mistake
 * named last, if there is one, they find it again, and without it nothing. A change of the engine may make another run of a
 * seed: what does not find its mistake any more is found and made smaller anew.
 */
export const REGRESSIONS: readonly { readonly options: string; readonly mutant?: string }[] = [
  {
    options:
      '--from 8 --seeds 1 --gateways 2 --steps 32 --without throttled,unreachable,lostResponse,torn,halved,stalled,duplicated,deaths,pauses,moves --skip 0,1,2,3,4,5,6,7,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31',
    mutant: 'flush answered early',
  },
  {
    options:
      '--from 182 --seeds 1 --gateways 1 --steps 19 --without throttled,stalled,pauses,moves --skip 9,10,11,15,16,17',
    mutant: 'an object that is cut short is opened',
  },
];
