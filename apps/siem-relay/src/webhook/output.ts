/**
 * The output to a webhook: one POST for each event, signed as Standard Webhooks. A repeated event has
 * the same `webhook-id`. Chats take about one message a second, so namespaces take turns.
 */
import { filters } from '@bailiff/bus';
import type { OcsfVersion } from '@bailiff/siem';
import { LEVELS } from '@bailiff/vocabulary';
import type { RelayConfig } from '../config.ts';
import { CLASSES, factsOf } from '../outputs/facts.ts';
import { HttpClient, readSecret } from '../outputs/http-client.ts';
import { DeliveryError, type Output, type OutputEvent } from '../outputs/output.ts';
import { parseSecrets, signedHeaders } from './signature.ts';
import { bodyOf } from './templates.ts';

const PAGERDUTY_URL = 'https://events.pagerduty.com/v2/enqueue';

type WebhookOptions = RelayConfig['webhooks'][string];

export class WebhookOutput implements Output {
  readonly name: string;
  readonly filterSubjects: readonly string[];
  /** One event a request: its id is that of the request. */
  readonly limits = { maxEvents: 1, maxBytes: 1, lingerMs: 1_000 };
  readonly startAt = 'new';
  readonly ocsfVersion: OcsfVersion | undefined;
  readonly #o: WebhookOptions;
  readonly #nowMs: () => number;
  readonly #client: HttpClient;

  constructor(name: string, options: WebhookOptions, nowMs: () => number) {
    this.name = `webhook-${name}`;
    this.#o = options;
    this.ocsfVersion = options.ocsfVersion;
    this.#nowMs = nowMs;
    const { caFile, allowPrivateAddress, timeoutMs } = options;
    this.#client = new HttpClient({ caFile, allowPrivateAddress, timeoutMs, nowMs });
    const classes = options.events.flatMap((kind) => CLASSES[kind]);
    this.filterSubjects = classes.map((className) => filters.siem({ format: 'ocsf', className }));
  }

  accepts({ severity }: OutputEvent): boolean {
    return severity > LEVELS.indexOf(this.#o.minLevel);
  }

  turnOf(event: OutputEvent): string {
    try {
      const { namespace, node } = factsOf(event);
      return namespace || node;
    } catch {
      // Becomes a dead letter when it is delivered.
      return event.node;
    }
  }

  /** @throws DeliveryError; the signal's reason */
  async deliver(events: readonly OutputEvent[], signal: AbortSignal): Promise<null> {
    for (const event of events) await this.#send(event, signal);
    return null;
  }

  close(): void {
    this.#client.close();
  }

  async #send(event: OutputEvent, signal: AbortSignal): Promise<void> {
    const { template, secretFile, routingKeyFile } = this.#o;
    // Read for each request, so that a rotated secret needs no restart.
    const routingKey = routingKeyFile === '' ? '' : readSecret(routingKeyFile).trim();
    const secrets = secretFile === '' ? [] : parseSecrets(readSecret(secretFile));
    const { contentType, body } = bodyOf(template, event, factsOf(event), routingKey);
    const signed = signedHeaders(secrets, event.uid, Math.floor(this.#nowMs() / 1000), body);
    await this.#client.post(this.#url(), { 'content-type': contentType, ...signed }, body, signal);
  }

  /** @throws DeliveryError OUTPUT_MISCONFIGURED */
  #url(): URL {
    const { url, urlFile, template, allowPrivateAddress } = this.#o;
    const otherwise = template === 'pagerduty' ? PAGERDUTY_URL : '';
    const text = urlFile === '' ? url || otherwise : readSecret(urlFile).trim();
    if (!URL.canParse(text)) throw new DeliveryError('OUTPUT_MISCONFIGURED', `${urlFile || 'url'} holds no URL`);
    const parsed = new URL(text);
    if (parsed.protocol === 'https:' || (parsed.protocol === 'http:' && allowPrivateAddress)) return parsed;
    throw new DeliveryError('OUTPUT_MISCONFIGURED', `${parsed.host}: must be https, or http with allowPrivateAddress`);
  }
}
