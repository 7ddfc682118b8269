/**
 * Requests and responses of OTLP/HTTP 1.x for logs, in JSON and protobuf. Pure.
 *
 * Only the fields that records use are written, and of a response only the partial success is read:
 * a library for all of protobuf would be larger than the relay. Field numbers:
 * https://github.com/open-telemetry/opentelemetry-proto (collector/logs/v1, logs/v1, common/v1)
 */
import type { LogRecord, ResourceLogs } from './record.ts';

export const ENCODINGS = ['protobuf', 'json'] as const;
export type Encoding = (typeof ENCODINGS)[number];
export const CONTENT_TYPES: Readonly<Record<Encoding, string>> = {
  protobuf: 'application/x-protobuf',
  json: 'application/json',
};
const SCOPE = 'bailiff.siem-relay';

/** Records that the receiver rejected although it took the request. */
export interface PartialSuccess {
  rejected: number;
  message: string;
}

export function encodeLogs(encoding: Encoding, logs: readonly ResourceLogs[]): Buffer {
  return encoding === 'json' ? Buffer.from(JSON.stringify(jsonOf(logs)), 'utf8') : protobufOf(logs);
}

/** null if nothing was rejected, or the response cannot be read. */
export function partialSuccessOf(encoding: Encoding, body: Buffer): PartialSuccess | null {
  try {
    const found = encoding === 'json' ? jsonPartial(body) : protobufPartial(body);
    return found.rejected > 0 ? found : null;
  } catch {
    // An empty response, or one of a proxy, after a status of success.
    return null;
  }
}

const attributesOf = (values: Record<string, string>) =>
  Object.entries(values).map(([key, value]) => ({ key, value: { stringValue: value } }));
/** 64-bit numbers are decimal texts. */
const nanosText = (micros: number) => `${BigInt(micros) * 1000n}`;

function jsonOf(logs: readonly ResourceLogs[]): unknown {
  const recordOf = (record: LogRecord) => ({
    timeUnixNano: nanosText(record.timeMicros),
    observedTimeUnixNano: nanosText(record.observedMicros),
    severityNumber: record.severityNumber,
    severityText: record.severityText,
    eventName: record.eventName,
    body: { stringValue: record.body },
    attributes: attributesOf(record.attributes),
  });
  return {
    resourceLogs: logs.map(({ resource, records }) => ({
      resource: { attributes: attributesOf(resource) },
      scopeLogs: [{ scope: { name: SCOPE }, logRecords: records.map(recordOf) }],
    })),
  };
}

/** Wire types of protobuf. */
const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let left = value;
  while (left >= 0x80) {
    bytes.push((left % 0x80) | 0x80);
    left = Math.floor(left / 0x80);
  }
  bytes.push(left);
  return Buffer.from(bytes);
}
const tag = (field: number, wire: number) => varint(field * 8 + wire);
const bytes = (field: number, value: Uint8Array) => Buffer.concat([tag(field, BYTES), varint(value.length), value]);
const string = (field: number, value: string) => bytes(field, Buffer.from(value, 'utf8'));
const message = (field: number, ...parts: Buffer[]) => bytes(field, Buffer.concat(parts));
const number = (field: number, value: number) => Buffer.concat([tag(field, VARINT), varint(value)]);
function nanos(field: number, micros: number): Buffer {
  const value = Buffer.alloc(8);
  value.writeBigUInt64LE(BigInt(micros) * 1000n);
  return Buffer.concat([tag(field, FIXED64), value]);
}
/** KeyValue with a string. */
const attributes = (field: number, values: Record<string, string>) =>
  Object.entries(values).map(([key, value]) => message(field, string(1, key), message(2, string(1, value))));

function protobufOf(logs: readonly ResourceLogs[]): Buffer {
  const recordOf = (record: LogRecord) =>
    message(
      2,
      nanos(1, record.timeMicros),
      number(2, record.severityNumber),
      string(3, record.severityText),
      message(5, string(1, record.body)),
      ...attributes(6, record.attributes),
      nanos(11, record.observedMicros),
      string(12, record.eventName),
    );
  return Buffer.concat(
    logs.map(({ resource, records }) =>
      message(
        1,
        message(1, ...attributes(1, resource)),
        message(2, message(1, string(1, SCOPE)), ...records.map(recordOf)),
      ),
    ),
  );
}

function jsonPartial(body: Buffer): PartialSuccess {
  const { partialSuccess } = JSON.parse(body.toString('utf8')) as {
    partialSuccess?: { rejectedLogRecords?: string | number; errorMessage?: string };
  };
  return {
    rejected: Number(partialSuccess?.rejectedLogRecords ?? 0) || 0,
    message: String(partialSuccess?.errorMessage ?? ''),
  };
}

/** Fields of a message: varints as numbers, lengths as bytes. Others are skipped. */
function* fieldsOf(body: Buffer): Generator<[field: number, value: number | Buffer]> {
  let at = 0;
  const read = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = body.readUInt8(at++);
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  while (at < body.length) {
    const key = read();
    const wire = key % 8;
    if (wire === VARINT) yield [Math.floor(key / 8), read()];
    else if (wire === BYTES) {
      const length = read();
      yield [Math.floor(key / 8), body.subarray(at, at + length)];
      at += length;
    } else if (wire === FIXED64) at += 8;
    else if (wire === FIXED32) at += 4;
    else throw new RangeError(`wire type ${wire}`);
  }
}

function protobufPartial(body: Buffer): PartialSuccess {
  const found: PartialSuccess = { rejected: 0, message: '' };
  for (const [field, partial] of fieldsOf(body)) {
    if (field !== 1 || typeof partial === 'number') continue;
    for (const [inner, value] of fieldsOf(partial)) {
      if (inner === 1 && typeof value === 'number') found.rejected = value;
      if (inner === 2 && typeof value !== 'number') found.message = value.toString('utf8');
    }
  }
  return found;
}
