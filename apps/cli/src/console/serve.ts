/**
 * `bailiff console serve`: the console in the cluster, as a service. Visitors are identified by the API
 * server or by the proxy in front, and see what Kubernetes lets them see (apps/console/src/access).
 */
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import type { ServerOptions as TlsOptions } from 'node:https';
import { connectService } from '@bailiff/bus';
import { SecretFile } from '@bailiff/bus/auth';
import {
  configSchema,
  makeMetrics,
  ProxyDoor,
  Rights,
  type ServeConfig,
  startClusterConsole,
  Visitors,
} from '@bailiff/console';
import { loadSharedKube } from '@bailiff/kube';
import {
  busOptionsOf,
  busServiceOf,
  RateLimitedLog,
  runService,
  type ServiceContext,
  ServiceError,
} from '@bailiff/service';
import { ResourceChanges } from './changes/resource-changes.ts';
import { consoleData } from './data.ts';

/** Streams and buckets that the console cannot do without. */
const STREAMS = ['VIOLATIONS', 'VERDICTS', 'RESPONSES', 'CONFIG_LOG', 'KV_bailiff_nodes', 'KV_bailiff_config'];
/** A renewed certificate of the listener is used from then on. */
const CERTIFICATE_MS = 60_000;

export function runServe(argv: readonly string[]): Promise<number> {
  return runService({
    name: 'console',
    argv,
    schema: configSchema,
    description: 'the page of a cluster: visitors see what Kubernetes lets them see',
    start,
  });
}

/** Starts the console within the process frame. @throws ServiceError; Error EADDRINUSE */
export async function start(ctx: ServiceContext<ServeConfig>): Promise<void> {
  const { config, clock } = ctx;
  const tls = tlsOf(config);
  const secret = config.proxySecretFile === '' ? null : secretOf(config.proxySecretFile);
  const { kubeconfig, kubeContext: context } = config;
  const { client, withToken } = loadSharedKube({ kubeconfig, context, userAgent: `bailiff-console/${ctx.version}` });
  ctx.onStop('kubernetes', () => client.close());
  const server = busOptionsOf({ ...config, natsTokenFile: '' });
  const bus = await connectService(busServiceOf(ctx), { ...server, name: 'console' }, STREAMS);
  const pages = { open: () => 0 };
  const metrics = makeMetrics(ctx.metrics, () => ({ pages: pages.open() }));
  const log = new RateLimitedLog(ctx.log);
  const nowMs = () => clock.nowMs();
  const visitors = new Visitors(
    client,
    {
      audiences: config.tokenAudiences,
      userHeader: config.userHeader,
      groupsHeader: config.groupsHeader,
      proxyNames: config.proxyNames,
      proxySecrets: () => secret?.all() ?? [],
    },
    () => performance.now(),
  );
  const onRefused = (status: number, reason: string) => {
    metrics.refused.inc({ status: String(status) });
    // The reasons of a 503 are few, and each needs another remedy.
    log.warn(status === 503 ? reason : `refused ${status}`, { reason }, `refused a visitor (${status})`);
  };
  const door = new ProxyDoor(visitors, new Rights(client, () => performance.now()), (error) =>
    onRefused(error.status, error.message),
  );
  const at = config.listenAddress.lastIndexOf(':');
  const consoleBus = { bus, server, nowMs, connection: config, version: ctx.version, operator: 'console' };
  const page = await startClusterConsole({
    data: consoleData(consoleBus),
    changes: new ResourceChanges({ bus: consoleBus, client, withToken }),
    door,
    host: config.listenAddress.slice(0, at).replace(/^\[|\]$/g, ''),
    port: Number(config.listenAddress.slice(at + 1)),
    origin: new URL(config.externalUrl).origin,
    ...(tls ? { tls } : {}),
    reports: {
      onRefused,
      onFailed: (err) => {
        metrics.failed.inc();
        log.warn('failed', { err }, 'a request failed');
      },
      onDisplaced: () => {
        metrics.displaced.inc();
        log.warn('displaced', {}, 'too many connections: closed an older one');
      },
      onChanged: (visitor, { key, reason }) =>
        ctx.log.info({ visitor, key, reason }, 'a visitor changed the configuration'),
    },
    nowMs,
  });
  ctx.onStop('console', () => page.close());
  pages.open = page.streams;
  if (tls) {
    let inUse = tls;
    ctx.onCertificates(() => endOf(inUse));
    renew(ctx, (next) => {
      page.setCertificates(next);
      inUse = next;
    });
  }
  ctx.log.info({ listenAddress: `${config.listenAddress.slice(0, at)}:${page.port}` }, 'serving the page');
}

function secretOf(file: string): SecretFile {
  try {
    return new SecretFile(file);
  } catch (cause) {
    throw new ServiceError('SERVICE_CONFIG', `proxySecretFile: ${(cause as Error).message}`, {
      cause,
      fields: ['proxySecretFile'],
    });
  }
}

/** @throws ServiceError SERVICE_CONFIG */
function tlsOf({ tlsCertFile, tlsKeyFile, proxyCaFile }: ServeConfig): TlsOptions | null {
  if (tlsCertFile === '') return null;
  const files = { cert: tlsCertFile, key: tlsKeyFile, ...(proxyCaFile === '' ? {} : { ca: proxyCaFile }) };
  for (const [name, file] of Object.entries(files)) {
    if (!existsSync(file))
      throw new ServiceError('SERVICE_CONFIG', `${name}: ${file} does not exist`, { fields: [name] });
  }
  const read = Object.fromEntries(Object.entries(files).map(([name, file]) => [name, readFileSync(file)]));
  // A visitor has no certificate; visitors.ts accepts names only from a proxy that has one.
  return {
    ...read,
    minVersion: 'TLSv1.2',
    ...(proxyCaFile === '' ? {} : { requestCert: true, rejectUnauthorized: false }),
  };
}

function endOf({ cert }: TlsOptions): { what: string; notAfterMs: number }[] {
  return [{ what: 'console certificate', notAfterMs: Date.parse(new X509Certificate(cert as Buffer).validTo) }];
}

/** Reads the certificate again from time to time, because a Secret is renewed in place. */
function renew({ config, log, onStop }: ServiceContext<ServeConfig>, use: (tls: TlsOptions) => void): void {
  const timer = setInterval(() => {
    try {
      const tls = tlsOf(config);
      if (tls) use(tls);
    } catch (err) {
      log.warn({ err }, 'the certificate cannot be read; the former one stays in use');
    }
  }, CERTIFICATE_MS);
  onStop('certificate', () => clearInterval(timer));
}
