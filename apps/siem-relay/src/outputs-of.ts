/** The outputs that the configuration asks for, and the formats of SIEM that they read. */
import type { Bucket, SiemFormat } from '@bailiff/bus';
import { loadKube } from '@bailiff/kube';
import { AlertmanagerOutput } from './alertmanager/output.ts';
import type { RelayConfig } from './config.ts';
import { OpenReportsOutput } from './openreports/output.ts';
import { OtlpOutput } from './otlp/output.ts';
import type { Output } from './outputs/output.ts';
import { parseAddress } from './syslog/connection.ts';
import { SyslogOutput } from './syslog/output.ts';
import { WebhookOutput } from './webhook/output.ts';

interface OutputParts {
  version: string;
  /** Lists of the pods of each node. */
  pods: Bucket;
  nowMs(): number;
}

export function outputsOf(config: RelayConfig, { version, pods, nowMs }: OutputParts): Output[] {
  const { urls, ...alertmanager } = config.alertmanager;
  return [
    ...(config.syslogAddress === '' ? [] : [syslogOutput(config, version)]),
    ...(config.otlp.url === '' ? [] : [new OtlpOutput({ ...config.otlp, version, nowMs })]),
    ...(config.openreports.enabled ? [openReportsOutput(config, version, nowMs)] : []),
    ...urls.map((url) => new AlertmanagerOutput({ ...alertmanager, url, pods, nowMs })),
    ...Object.entries(config.webhooks).map(([name, webhook]) => new WebhookOutput(name, webhook, nowMs)),
  ];
}

/** The configured formats, and those that outputs read. */
export function formatsOf({ formats, webhooks, alertmanager, otlp, openreports }: RelayConfig): SiemFormat[] {
  const isRead = Object.keys(webhooks).length + alertmanager.urls.length > 0 || otlp.url !== '' || openreports.enabled;
  const read: SiemFormat[] = isRead ? ['ocsf'] : [];
  return [...new Set([...formats, ...read])];
}

function openReportsOutput({ openreports }: RelayConfig, version: string, nowMs: () => number): OpenReportsOutput {
  const { kubeconfig, kubeContext: context, keepMs, timeoutMs } = openreports;
  const kube = loadKube({ kubeconfig, context, userAgent: `bailiff-siem-relay/${version}` });
  return new OpenReportsOutput({ kube, keepMs, timeoutMs, nowMs });
}

function syslogOutput(config: RelayConfig, version: string): SyslogOutput {
  return new SyslogOutput({
    format: config.syslogFormat,
    ocsfVersion: config.syslogOcsfVersion,
    facility: config.syslogFacility,
    receiver: {
      ...parseAddress(config.syslogAddress),
      transport: config.syslogTransport,
      caFile: config.syslogCaFile,
      certFile: config.syslogCertFile,
      keyFile: config.syslogKeyFile,
      serverName: config.syslogServerName,
    },
    confirmMs: config.syslogConfirmMs,
    confirmTimeoutMs: config.syslogConfirmTimeoutMs,
    version,
  });
}

/**
 * Assigns keys of positions to webhooks. Pure.
 *
 * Operators choose the names of webhooks, and the bucket accepts fixed keys only. A key belongs to the
 * webhook that its value names, so that no webhook continues at the position of another.
 * @param names of the configured webhooks, at most as many as keys
 * @param owners name in the value of each key; undefined without a value
 */
export function assignSlots(
  names: readonly string[],
  owners: ReadonlyMap<string, string | undefined>,
): Map<string, string> {
  const assigned = new Map<string, string>();
  for (const [key, owner] of owners) if (owner !== undefined && names.includes(owner)) assigned.set(owner, key);
  const isTaken = (key: string) => [...assigned.values()].includes(key);
  // Keys without a value first, so that the position of a webhook that is configured again is kept.
  const free = [...owners]
    .filter(([key]) => !isTaken(key))
    .sort(([, a], [, b]) => Number(a !== undefined) - Number(b !== undefined));
  for (const name of names) {
    if (assigned.has(name)) continue;
    const [key] = free.shift() ?? [];
    if (key !== undefined) assigned.set(name, key);
  }
  return assigned;
}
