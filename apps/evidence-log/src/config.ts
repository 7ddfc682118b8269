/** Configuration of the evidence-log. */
import { HEAD_EVERY_MS, LOG_NAME, splitWitness } from '@bailiff/evidence';
import { busShape, type FrameConfig, hostPort, whole } from '@bailiff/service';
import * as z from 'zod';

export const configSchema = z.strictObject({
  ...busShape,
  directory: z.string().min(1).describe('directory of the log, on a volume that outlives the process'),
  origin: z
    .string()
    .regex(LOG_NAME, { error: 'must be a name of at most 253 printable characters without spaces and +' })
    .describe('name of the log, such as bailiff.example.com/cluster-1; it never changes'),
  keyFile: z.string().min(1).describe('private key (Ed25519, PEM) that signs the heads'),
  headEveryMs: whole(100, 6_000)
    .default(HEAD_EVERY_MS)
    .describe('interval of heads; a message is covered by a head at most ten seconds after it was stored'),
  listenAddress: hostPort
    .default('127.0.0.1:9471')
    .describe('where copies of the log are read; on a loopback address only from the machine or pod itself'),
  witnesses: z
    .array(
      z.string().refine((text) => splitWitness(text) !== null, { error: 'must be a verifier key, a space and a URL' }),
    )
    .max(8)
    .default([])
    .describe('witnesses that cosign the heads, each as its verifier key, a space and its URL, separated by commas'),
});

export type LogConfig = z.output<typeof configSchema> & FrameConfig;
