/** The output to a receiver of OpenTelemetry logs, by OTLP/HTTP. */
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { filters } from '@bailiff/bus';
import type { OcsfVersion } from '@bailiff/siem';
import type { RelayConfig } from '../config.ts';
import { HttpClient } from '../outputs/http-client.ts';
import type { Output, OutputEvent, Rejection } from '../outputs/output.ts';
import { CONTENT_TYPES, encodeLogs, partialSuccessOf } from './encode.ts';
import { resourceLogsOf } from './record.ts';

const compress = promisify(gzip);

type OtlpOptions = RelayConfig['otlp'] & { version: string; nowMs(): number };

export class OtlpOutput implements Output {
  readonly name = 'otlp';
  readonly filterSubjects = [filters.siem({ format: 'ocsf' })];
  readonly limits = { maxEvents: 256, maxBytes: 1024 * 1024, lingerMs: 1_000 };
  readonly ocsfVersion: OcsfVersion | undefined;
  readonly #o: OtlpOptions;
  readonly #client: HttpClient;

  constructor(options: OtlpOptions) {
    this.#o = options;
    this.ocsfVersion = options.ocsfVersion;
    this.#client = new HttpClient({ ...options, allowPrivateAddress: true });
  }

  /** @throws DeliveryError; the signal's reason */
  async deliver(events: readonly OutputEvent[], signal: AbortSignal): Promise<Rejection | null> {
    const { url, encoding, version } = this.#o;
    const body = await compress(encodeLogs(encoding, resourceLogsOf(events, version)));
    const headers = { 'content-type': CONTENT_TYPES[encoding], 'content-encoding': 'gzip' };
    const response = await this.#client.post(new URL(url), headers, body, signal);
    return partialSuccessOf(encoding, response.body);
  }

  close(): void {
    this.#client.close();
  }
}
