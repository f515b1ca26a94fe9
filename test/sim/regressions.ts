/**
 * Runs that found something once, as `--minimise` printed them: options of `npm run sim`, without `--trace`. With the mistake
 * named last, if there is one, they find it again, and without it nothing. A change of the engine may make another run of a
 * seed: what does not find its mistake any more is found and made smaller anew.
 */
export const REGRESSIONS: readonly { readonly options: string; readonly mutant?: string }[] = [
  {
    options:
      '--from 8 --seeds 1 --gateways 2 --steps 20 --without throttled,unreachable,lostResponse,torn,stalled,duplicated,deaths,pauses --skip 0,1,2,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19',
    mutant: 'flush answered early',
  },
];
