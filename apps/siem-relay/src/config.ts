/** Configuration of the siem-relay: the formats on the bus, and the optional outputs. */
import { MAX_ALERTMANAGERS, MAX_WEBHOOKS, SIEM_FORMATS } from '@bailiff/bus';
import { busShape, type FrameConfig, kubeShape, optionalText, whole } from '@bailiff/service';
import { OCSF_VERSIONS } from '@bailiff/siem';
import { LEVELS } from '@bailiff/vocabulary';
import * as z from 'zod';
import { alertmanagerName } from './alertmanager/alerts.ts';
import { ENCODINGS } from './otlp/encode.ts';
import { FACILITIES } from './syslog/message.ts';
import { TEMPLATES } from './webhook/templates.ts';

const ocsfVersion = z
  .enum(OCSF_VERSIONS)
  .optional()
  .describe('version of its events in OCSF: 1.5 or 1.9; by default that of ocsfVersion');

const timeoutMs = whole(100, 60_000).default(10_000).describe('time limit of a request');
const clientShape = {
  certFile: optionalText.describe('client certificate (PEM)'),
  keyFile: optionalText.describe('key of the client certificate (PEM)'),
  timeoutMs,
};

/** Fields of a webhook: docs/siem/outputs.md describes them. */
const webhook = z
  .strictObject({
    url: z
      .union([z.url({ protocol: /^https?$/ }), z.literal('')])
      .default('')
      .describe('where to post'),
    urlFile: optionalText.describe('file with the URL, if the URL itself is a secret'),
    template: z.enum(TEMPLATES).default('json').describe('body of the requests'),
    ocsfVersion,
    events: z
      .array(z.enum(['verdicts', 'responses']))
      .min(1)
      .default(['verdicts'])
      .describe('what is delivered'),
    minLevel: z.enum(LEVELS).default('informational').describe('events of a lower level are skipped'),
    secretFile: optionalText.describe('file with the signing secret, two lines during a rotation; empty: unsigned'),
    routingKeyFile: optionalText.describe('file with the integration key of PagerDuty'),
    caFile: optionalText.describe('CA certificates (PEM) of the receiver; empty: those of the system'),
    allowPrivateAddress: z.boolean().default(false).describe('permits destinations inside the cluster, and http'),
    timeoutMs,
  })
  .refine(
    ({ url, urlFile, template }) =>
      (url === '' ? 0 : 1) + (urlFile === '' ? 0 : 1) === 1 || (template === 'pagerduty' && url === urlFile),
    {
      error: 'needs either url or urlFile',
    },
  )
  .refine(({ routingKeyFile, template }) => (routingKeyFile !== '') === (template === 'pagerduty'), {
    path: ['routingKeyFile'],
    error: 'is needed for the template pagerduty, and only there',
  });

/** Alertmanager refuses each alert whose link it does not take for a URI. */
function isLink(text: string): boolean {
  const link = text.replaceAll('{verdictId}', 'v');
  try {
    return /^https?:$/.test(new URL(decodeURI(link)).protocol);
  } catch {
    return false;
  }
}

const alertmanager = z.strictObject({
  urls: z
    .array(z.url({ protocol: /^https?$/ }))
    .max(MAX_ALERTMANAGERS)
    // An output has a position by its name.
    .refine(
      (urls) => !urls.every((url) => URL.canParse(url)) || new Set(urls.map(alertmanagerName)).size === urls.length,
      {
        error: 'must name different servers',
      },
    )
    .default([])
    .describe(
      `up to ${MAX_ALERTMANAGERS} servers of Alertmanager, such as http://alertmanager.monitoring:9093; each gets every alert`,
    ),
  resendMs: whole(1_000, 600_000).default(60_000).describe('interval of sending an active alert again'),
  resolveAfterMs: whole(1_000, 86_400_000)
    .default(600_000)
    .describe(
      'an alert is resolved this long after its newest verdict; not less than the longest cooldown of the rules',
    ),
  generatorUrl: z
    .string()
    .refine((text) => text === '' || isLink(text), { error: 'must be an http or https URL' })
    .default('')
    .describe('link of an alert; {verdictId} is replaced'),
  authorizationFile: optionalText.describe('file with the content of the Authorization header'),
  caFile: optionalText.describe('CA certificates (PEM) of the servers; empty: those of the system'),
  ...clientShape,
});

const otlp = z.strictObject({
  url: z
    .union([z.url({ protocol: /^https?$/ }), z.literal('')])
    .default('')
    .describe('receiver of OpenTelemetry logs, such as http://collector:4318/v1/logs; empty for none'),
  ocsfVersion,
  encoding: z.enum(ENCODINGS).default('protobuf').describe('protobuf or JSON'),
  authorizationFile: optionalText.describe('file with the content of the Authorization header'),
  caFile: optionalText.describe('CA certificates (PEM) of the receiver; empty: those of the system'),
  ...clientShape,
});

const openreports = z.strictObject({
  enabled: z.boolean().default(false).describe('keeps a Report of openreports.io in each namespace with verdicts'),
  keepMs: whole(60_000, 604_800_000).default(86_400_000).describe('a result ends this long after its newest verdict'),
  ...kubeShape,
  timeoutMs,
});

export const configSchema = z
  .strictObject({
    ...busShape,
    formats: z
      .array(z.enum(SIEM_FORMATS))
      .min(1)
      .default(['ocsf'])
      .describe('formats of the events on the bus: ocsf, ecs, cef, several separated by commas'),
    ocsfVersion: z
      .enum(OCSF_VERSIONS)
      .default('1.5')
      .describe('version of events in OCSF on the bus, and at outputs without a version of their own'),
    startAt: z
      .enum(['all', 'new'])
      .default('all')
      .describe('where the first start begins: with everything in the streams, or with new messages'),
    syslogAddress: z
      .string()
      .regex(/^((\[[0-9a-fA-F:.]+\]|[^:[\]\s]+):\d{1,5})?$/, { error: 'must be host:port, or empty for none' })
      .default('')
      .describe('syslog receiver (RFC 5424, octet counting); empty for none'),
    syslogTransport: z.enum(['tcp', 'tls']).default('tls').describe('tls (RFC 5425) or plain tcp (RFC 6587)'),
    syslogFormat: z
      .enum(SIEM_FORMATS)
      .default('cef')
      .describe('format of the events in syslog; must be one of formats'),
    syslogOcsfVersion: ocsfVersion,
    syslogFacility: z.enum(FACILITIES).default('local0').describe('facility of the messages'),
    syslogCaFile: optionalText.describe('CA certificates (PEM) that verify the receiver; empty: those of the system'),
    syslogCertFile: optionalText.describe('client certificate (PEM) for the receiver'),
    syslogKeyFile: optionalText.describe('key of the client certificate (PEM)'),
    syslogServerName: optionalText.describe('name in the receiver’s certificate, if it is not the host'),
    syslogConfirmMs: whole(100, 600_000)
      .default(5_000)
      .describe('how often a connection is closed to confirm delivery; unconfirmed events are sent again'),
    syslogConfirmTimeoutMs: whole(100, 600_000)
      .default(60_000)
      .describe('how long the receiver may take to read everything and close'),
    alertmanager: alertmanager.prefault({}).describe('servers of Alertmanager (docs/siem/outputs.md)'),
    otlp: otlp.prefault({}).describe('receiver of OpenTelemetry logs (docs/siem/outputs.md)'),
    openreports: openreports.prefault({}).describe('reports in the Kubernetes API (docs/siem/outputs.md)'),
    webhooks: z
      .record(z.string().regex(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/, { error: 'must be a lower-case name' }), webhook)
      .refine((all) => Object.keys(all).length <= MAX_WEBHOOKS, { error: `at most ${MAX_WEBHOOKS} are possible` })
      .default({})
      .describe(`up to ${MAX_WEBHOOKS} webhooks by name (docs/siem/outputs.md)`),
  })
  .refine((config) => config.syslogAddress === '' || config.formats.includes(config.syslogFormat), {
    path: ['syslogFormat'],
    error: 'is not among formats, so there are no such events',
  });

export type RelayConfig = z.output<typeof configSchema> & FrameConfig;
