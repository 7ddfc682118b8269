/** What an operator sets for bus-auth. */
import { busShape, type FrameConfig } from '@bailiff/service';
import * as z from 'zod';

const { natsTokenFile: _, ...shape } = busShape;
const seedFile = (of: string) =>
  z
    .string()
    .min(1)
    .describe(`file with the seed of ${of}; during a rotation the next one on a line before it. Read at each login`);

export const configSchema = z.strictObject({
  ...shape,
  natsUser: z.string().min(1).default('bus-auth').describe('user on the bus, in the account that is asked'),
  issuerSeedFile: seedFile('the account key that signs rights (SA…)'),
  xkeySeedFile: seedFile('the curve key that opens requests (SX…)'),
  kubeconfig: z
    .string()
    .default('')
    .describe('kubeconfig file; empty: KUBECONFIG, ~/.kube/config or the service account'),
  kubeContext: z.string().default('').describe('context of the kubeconfig; empty: its current one'),
  audience: z.string().min(1).max(200).default('bailiff').describe('audience that a token must be for'),
  collectorNamespace: z.string().min(1).max(63).default('bailiff-system').describe('namespace of the collectors'),
  collectorServiceAccount: z
    .string()
    .min(1)
    .max(253)
    .default('bailiff-collector')
    .describe('ServiceAccount of the collectors; every other one is refused'),
  maxSessionSeconds: z
    .number()
    .int()
    .min(1)
    .max(604_800)
    .default(86_400)
    .describe('longest time until a collector must show a token again, whatever the token says; seconds'),
  reviewTimeoutMs: z
    .number()
    .int()
    .min(100)
    .max(3_000)
    .default(2_000)
    .describe('how long the API server may take to judge a token; the bus itself waits 4,000'),
  maxConcurrent: z
    .number()
    .int()
    .min(2)
    .max(256)
    .default(32)
    .describe(
      'logins about which the API server is asked at once; those beyond wait, and are refused when the bus no longer does. Half of them at most are of tokens that are not known to be its own',
    ),
  reviewsPerSecond: z
    .number()
    .int()
    .min(2)
    .max(10_000)
    .default(100)
    .describe(
      'tokens that the API server is asked about, at most, on the long run; half of them at most are not known to be its own',
    ),
  refusalsPerMinute: z
    .number()
    .int()
    .min(1)
    .max(10_000)
    .default(30)
    .describe(
      'questions to the API server that may come to nothing for one pod, or for one address where tokens are not known to be of a pod, before it is refused without one',
    ),
});
export type BusAuthConfig = z.output<typeof configSchema> & FrameConfig;
