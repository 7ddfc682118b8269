/**
 * Process configuration of the correlator. Correlation rules are part of the configuration on the
 * bus.
 */
import { DEFAULT_VERDICTS_PER_MINUTE } from '@bailiff/correlation';
import { busShape, type FrameConfig, signersShape, whole } from '@bailiff/service';
import * as z from 'zod';

export const configSchema = z.strictObject({
  ...busShape,
  ...signersShape,
  verdictsPerMinute: whole(2, 100_000)
    .default(DEFAULT_VERDICTS_PER_MINUTE)
    .describe(
      'limit of verdicts per minute; half is reserved for high and critical verdicts, one namespace or node uses at most a quarter; must be equal in every replica',
    ),
  pullMessages: whole(16, 10_000)
    .default(500)
    .describe('frames requested at once; they use memory on the bus server and in this process'),
});

export type CorrelatorConfig = z.output<typeof configSchema> & FrameConfig;
