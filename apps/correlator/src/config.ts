/** What an operator sets for the correlator as a process. The rules it judges by are not here but in the configuration on the bus. */
import { DEFAULT_VERDICTS_PER_MINUTE } from '@bailiff/correlation';
import { busShape, type FrameConfig } from '@bailiff/service';
import * as z from 'zod';

export const configSchema = z.strictObject({
  ...busShape,
  verdictsPerMinute: z
    .number()
    .int()
    .min(2)
    .max(100_000)
    .default(DEFAULT_VERDICTS_PER_MINUTE)
    .describe(
      'verdicts a minute at most, half of them kept for high and critical ones, a quarter at most for one namespace or node; the same in every replica',
    ),
  pullMessages: z
    .number()
    .int()
    .min(16)
    .max(10_000)
    .default(500)
    .describe('frames asked for at once; memory for them is taken from the bus and from this process'),
});

export type CorrelatorConfig = z.output<typeof configSchema> & FrameConfig;
