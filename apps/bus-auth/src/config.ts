/** Configuration of bus-auth. */
import { publicKeyOf, SecretFile, type SeedKind } from '@bailiff/bus/auth';
import { busShape, type FrameConfig, kubeShape, ServiceError, whole } from '@bailiff/service';
import * as z from 'zod';

const { natsTokenFile: _, ...shape } = busShape;
const seedFile = (of: string) =>
  z
    .string()
    .min(1)
    .describe(`file with the seed of ${of}; during a rotation, the next seed on a line before it. Read at each login`);

export const configSchema = z.strictObject({
  ...shape,
  natsUser: z.string().min(1).default('bus-auth').describe('user on the bus, in the account of the auth callout'),
  issuerSeedFile: seedFile('the account key that signs permissions (SA…)'),
  xkeySeedFile: seedFile('the curve key that opens requests (SX…)'),
  ...kubeShape,
  audience: z.string().min(1).max(200).default('bailiff').describe('required audience of a token'),
  collectorNamespace: z.string().min(1).max(63).default('bailiff-system').describe('namespace of the collectors'),
  collectorServiceAccount: z
    .string()
    .min(1)
    .max(253)
    .default('bailiff-collector')
    .describe('ServiceAccount of the collectors; all others are refused'),
  maxSessionSeconds: whole(1, 604_800)
    .default(86_400)
    .describe('longest time until a collector must log in again, regardless of the token; seconds'),
  reviewTimeoutMs: whole(100, 3_000).default(2_000).describe('timeout of one TokenReview; the bus itself waits 4,000'),
  maxConcurrent: whole(2, 256)
    .default(32)
    .describe(
      'TokenReviews in flight; more logins wait until the bus gives up. At most half are for tokens that are not proven',
    ),
  reviewsPerSecond: whole(2, 10_000)
    .default(100)
    .describe('long-term limit of TokenReviews; at most half are for tokens that are not proven'),
  loginsPerMinute: whole(2, 100_000)
    .default(60)
    .describe('logins of one pod with a proven token, also successful ones; further logins get no response'),
  refusalsPerMinute: whole(1, 10_000)
    .default(30)
    .describe(
      'TokenReviews without a grant for one pod, or for one address if the token is not proven; further logins are refused without a review',
    ),
});
export type BusAuthConfig = z.output<typeof configSchema> & FrameConfig;

/** Reads a file of seeds at each call. @throws ServiceError SERVICE_CONFIG if it holds none */
export function seedsOf(kind: SeedKind, path: string, field: string): () => readonly string[] {
  try {
    const file = new SecretFile(path);
    for (const seed of file.all()) publicKeyOf(kind, seed);
    return () => file.all();
  } catch (cause) {
    const { message } = cause as Error;
    throw new ServiceError('SERVICE_CONFIG', `${field}: ${path}: ${message}`, { cause, fields: [field] });
  }
}
