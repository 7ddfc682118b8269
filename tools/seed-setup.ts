// Vitest's set-up of the tiers with generated inputs: the same ones in every run, so that one that fails is no other's. BAILIFF_SEED tries others.
import fc from 'fast-check';

const SEED = 20_261_124;

fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(process.env['BAILIFF_SEED'] ?? SEED) });
