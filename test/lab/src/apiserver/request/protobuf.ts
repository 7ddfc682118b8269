/**
 * Decodes the few objects that kubectl sends as protobuf, as in `kubectl create namespace` and
 * `auth can-i`; everything else is JSON. Pure. Field numbers are those of the published .proto
 * files. Unknown fields are skipped; an unknown kind is 415, malformed bytes are 400.
 */
import { badRequest, unsupportedMediaType } from '../errors.ts';
import type { JsonObject } from '../types.ts';

export const protobufType = 'application/vnd.kubernetes.protobuf';

/** Four bytes before every message: `k8s` and a zero. */
const magic = Buffer.from('k8s\0');

type Field =
  | { name: string; as: 'text' | 'number' | 'texts' | 'map' | 'bytes' | 'intOrString' }
  | { name: string; as: 'message'; of: Message };
type Message = { [number: number]: Field };

const text = (name: string): Field => ({ name, as: 'text' });
const map = (name: string): Field => ({ name, as: 'map' });
const message = (name: string, of: Message): Field => ({ name, as: 'message', of });

const metadata = message('metadata', {
  1: text('name'),
  2: text('generateName'),
  3: text('namespace'),
  11: map('labels'),
  12: map('annotations'),
  14: { name: 'finalizers', as: 'texts' },
});

const accessAttributes = ['namespace', 'verb', 'group', 'version', 'resource', 'subresource', 'name'];

const kinds: { [kind: string]: Message } = {
  Namespace: { 1: metadata },
  ServiceAccount: { 1: metadata },
  ConfigMap: { 1: metadata, 2: map('data') },
  PodDisruptionBudget: {
    1: metadata,
    2: message('spec', {
      1: { name: 'minAvailable', as: 'intOrString' },
      2: message('selector', { 1: map('matchLabels') }),
      3: { name: 'maxUnavailable', as: 'intOrString' },
    }),
  },
  SelfSubjectReview: { 1: metadata },
  SelfSubjectAccessReview: {
    1: metadata,
    2: message('spec', {
      1: message(
        'resourceAttributes',
        Object.fromEntries(accessAttributes.map((name, index) => [index + 1, text(name)])),
      ),
      2: message('nonResourceAttributes', { 1: text('path'), 2: text('verb') }),
    }),
  },
};

const envelope: Message = {
  1: message('typeMeta', { 1: text('apiVersion'), 2: text('kind') }),
  2: { name: 'raw', as: 'bytes' },
};

/** A protobuf body as a JSON object. Throws 400 and 415. */
export function decodeProtobuf(body: Buffer): JsonObject {
  if (!body.subarray(0, magic.length).equals(magic)) throw badRequest('the body is no Kubernetes protobuf message');
  const outer = decode(body.subarray(magic.length), envelope);
  const typeMeta = (outer['typeMeta'] ?? {}) as { apiVersion?: string; kind?: string };
  const shape = Object.hasOwn(kinds, typeMeta.kind ?? '') ? kinds[typeMeta.kind!] : undefined;
  if (shape === undefined) throw unsupportedMediaType(protobufType, ['application/json']);
  return { ...typeMeta, ...decode((outer['raw'] as Buffer | undefined) ?? Buffer.alloc(0), shape) };
}

class Reader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#offset >= this.#bytes.length;
  }

  /** Numbers up to 2^53; no decoded field is larger. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 64; shift += 7) {
      const byte = this.#bytes[this.#offset];
      if (byte === undefined) break;
      this.#offset += 1;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw badRequest('malformed protobuf: a number does not end');
  }

  take(length: number): Buffer {
    if (length > this.#bytes.length - this.#offset) throw badRequest('malformed protobuf: a field is cut short');
    this.#offset += length;
    return this.#bytes.subarray(this.#offset - length, this.#offset);
  }

  /** The next field's value: a number, or bytes. */
  value(wireType: number): number | Buffer {
    if (wireType === 0) return this.varint();
    if (wireType === 1) return this.take(8);
    if (wireType === 2) return this.take(this.varint());
    if (wireType === 5) return this.take(4);
    throw badRequest(`malformed protobuf: wire type ${wireType}`);
  }
}

function decode(bytes: Buffer, shape: Message): JsonObject {
  const reader = new Reader(bytes);
  const result: JsonObject = {};
  while (!reader.done) {
    const tag = reader.varint();
    const value = reader.value(tag % 8);
    const field = shape[Math.floor(tag / 8)];
    if (field !== undefined) set(result, field, value);
  }
  return result;
}

function set(result: JsonObject, field: Field, value: number | Buffer): void {
  const { name } = field;
  if (field.as === 'number' || typeof value === 'number') {
    if (field.as !== 'number' || typeof value !== 'number')
      throw badRequest(`malformed protobuf: ${name} has another type`);
    result[name] = value;
    return;
  }
  if (field.as === 'bytes') result[name] = value;
  else if (field.as === 'message') result[name] = decode(value, field.of);
  else if (field.as === 'texts')
    result[name] = [...((result[name] as string[] | undefined) ?? []), value.toString('utf8')];
  else if (field.as === 'map') {
    const entry = decode(value, { 1: text('key'), 2: text('value') });
    result[name] = { ...(result[name] as JsonObject | undefined), [String(entry['key'] ?? '')]: entry['value'] ?? '' };
  } else if (field.as === 'intOrString') {
    const entry = decode(value, {
      1: { name: 'type', as: 'number' },
      2: { name: 'number', as: 'number' },
      3: text('text'),
    });
    result[name] = entry['type'] === 1 ? entry['text'] : (entry['number'] ?? 0);
  } else if (value.length > 0) result[name] = value.toString('utf8');
}
