// Vitest's setup of the tiers with generated inputs: the same inputs in every run, so that failures
// are reproducible. BAILIFF_SEED selects others.
import fc from 'fast-check';

const SEED = 20_261_124;

fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(process.env['BAILIFF_SEED'] ?? SEED) });
