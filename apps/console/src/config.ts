/** Configuration of the console in the cluster: `bailiff console serve`. */
import { busShape, type FrameConfig, hostPort, kubeShape, optionalText } from '@bailiff/service';
import * as z from 'zod';

const { natsTokenFile: _, ...shape } = busShape;
const header = (what: string) =>
  z
    .string()
    .regex(/^[A-Za-z0-9-]{1,64}$/, { error: 'must be the name of a header' })
    .describe(what);

export const configSchema = z
  .strictObject({
    ...shape,
    natsUser: z.string().min(1).default('console').describe('user on the bus, which may read everything'),
    listenAddress: hostPort.default('127.0.0.1:9470').describe('where the proxy in front of the console reaches it'),
    externalUrl: z
      .url({ protocol: /^https?$/ })
      .describe('address at which browsers open the console, without a path; requests for another one are refused'),
    tlsCertFile: optionalText.describe('certificate (PEM) of the listener; empty: plain HTTP'),
    tlsKeyFile: optionalText.describe('key of the certificate (PEM)'),
    tokenAudiences: z
      .array(z.string().min(1).max(253))
      .max(8)
      .default([])
      .describe('audiences of tokens in the header Authorization; empty: that of the API server'),
    userHeader: header('header with the name of a person, from a proxy that proves itself').default('x-forwarded-user'),
    groupsHeader: header("header with the person's groups, separated by commas").default('x-forwarded-groups'),
    proxyCaFile: optionalText.describe('CA (PEM) of client certificates of the proxy'),
    proxyNames: z
      .array(z.string().min(1).max(253))
      .max(16)
      .default([])
      .describe('common names of client certificates that the proxy may have'),
    proxySecretFile: optionalText.describe(
      'file with a secret that the proxy sends as x-bailiff-proxy-secret; during a rotation, the next one on a line before it',
    ),
    ...kubeShape,
  })
  .refine(({ tlsCertFile, tlsKeyFile }) => (tlsCertFile === '') === (tlsKeyFile === ''), {
    path: ['tlsKeyFile'],
    error: 'certificate and key go together',
  })
  .refine(({ proxyCaFile, proxyNames }) => (proxyCaFile === '') === (proxyNames.length === 0), {
    path: ['proxyNames'],
    error: 'the CA and the names of its certificates go together: every certificate of the CA would be a proxy',
  })
  .refine(({ proxyCaFile, tlsCertFile }) => proxyCaFile === '' || tlsCertFile !== '', {
    path: ['proxyCaFile'],
    error: 'client certificates need tlsCertFile',
  })
  .refine(({ externalUrl }) => new URL(externalUrl).pathname === '/', {
    path: ['externalUrl'],
    error: 'must have no path',
  });

export type ServeConfig = z.output<typeof configSchema> & FrameConfig;
