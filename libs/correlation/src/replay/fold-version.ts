/**
 * Version of the fold, which evidence names. Increment it with every change after which the same frames,
 * rules and pod lists can give another verdict: a verifier judges only evidence of its own version.
 * test/sim/fold-version.test.ts has the hashes of its verdicts.
 */
export const FOLD_VERSION = 6;
