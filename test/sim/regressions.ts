/**
 * Runs that found something once, as they were printed with it: options of `npm run sim`. With the mistake
 * named last, if there is one, they find it again, and without it nothing. A change of the engine may make another run of a
 * seed: what does not find its mistake any more is found and made smaller anew.
 */
export const REGRESSIONS: readonly { readonly options: string; readonly mutant?: string }[] = [
  {
    options:
      '--from 1 --seeds 1 --gateways 1 --steps 58 --without throttled,lostResponse,halved,stalled,deaths,pauses,moves,points --skip 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,36,42,46,47,48,49,50,51,52,53,54,55,56,57',
    mutant: 'flush answered early',
  },
  {
    options:
      '--from 145 --seeds 1 --gateways 1 --steps 35 --without throttled,duplicated,moves,points --skip 6,8,18,33,34',
    mutant: 'an object that is cut short is opened',
  },
  {
    options:
      '--from 21 --seeds 1 --gateways 1 --steps 1 --without throttled,unreachable,lostResponse,torn,halved,stalled,duplicated,deaths,pauses,moves,rollbacks --skip 0',
    mutant: 'a point does not pin',
  },
  {
    options:
      '--from 100 --seeds 1 --gateways 1 --steps 29 --without throttled,unreachable,lostResponse,torn,halved,stalled,duplicated,deaths,pauses,moves --skip 0,1,2,3,4,5,6,7,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28',
    mutant: 'what points held is freed although the disk went back to it',
  },
  {
    options: '--from 5012 --seeds 1 --gateways 2 --steps 99 --without torn,halved,rollbacks,points',
  },
];
