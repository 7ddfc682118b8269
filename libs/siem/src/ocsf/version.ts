/**
 * An event in another version of OCSF. Pure.
 *
 * 1.5 and 1.9 require the same attributes of the classes that Bailiff uses. 1.9 has the profile
 * record_integrity, and a thread id under another name. The fingerprint is the SHA-256 of the event's
 * canonical JSON (RFC 8785) without the fingerprint itself: it finds an event that was changed or
 * damaged on its way, not one that was forged, because it is not signed. https://schema.ocsf.io/1.9.0
 */
import { createHash } from 'node:crypto';
import { type Json, OCSF_VERSION } from './base.ts';

export const OCSF_VERSIONS = ['1.5', '1.9'] as const;
export type OcsfVersion = (typeof OCSF_VERSIONS)[number];

const PROFILE = 'record_integrity';

/** @param event in either version; 1.5: as toOcsf makes it */
export function inOcsfVersion(event: Json, version: OcsfVersion): Json {
  const plain = isNewer(event) ? older(event) : event;
  return version === '1.5' ? plain : attested(newer(plain));
}

const metadataOf = (event: Json) => event['metadata'] as { version: string; profiles: string[] };
const isNewer = (event: Json): boolean => metadataOf(event).version === '1.9.0';

function newer(event: Json): Json {
  const metadata = metadataOf(event);
  const profiles = [...metadata.profiles, PROFILE];
  return { ...(renamed(event, 'tid', 'ptid') as Json), metadata: { ...metadata, version: '1.9.0', profiles } };
}

function older({ attestation_list: _, ...event }: Json): Json {
  const metadata = metadataOf(event);
  const profiles = metadata.profiles.filter((name) => name !== PROFILE);
  return { ...(renamed(event, 'ptid', 'tid') as Json), metadata: { ...metadata, version: OCSF_VERSION, profiles } };
}

/** `process.tid` is deprecated since 1.6. No other object has the key; `unmapped` is Bailiff's. */
function renamed(value: unknown, from: string, to: string): unknown {
  if (Array.isArray(value)) return value.map((entry) => renamed(entry, from, to));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, entry]) =>
      key === 'unmapped' ? [key, entry] : [key === from ? to : key, renamed(entry, from, to)],
    ),
  );
}

function attested(event: Json): Json {
  const { k8s } = (event['unmapped'] ?? {}) as { k8s?: { cluster_uid?: string } };
  const authority = k8s?.cluster_uid ? { authority_uid: k8s.cluster_uid } : {};
  const value = createHash('sha256')
    .update(canonical({ ...event, attestation_list: [authority] }))
    .digest('hex');
  const fingerprint = {
    algorithm_id: 3,
    algorithm: 'SHA-256',
    encoding_id: 1,
    encoding: 'Hex',
    serialization_id: 2,
    serialization: 'JCS',
    value,
  };
  return { ...event, attestation_list: [{ ...authority, fingerprint }] };
}

/** JSON by RFC 8785: keys sorted by UTF-16 code units; texts and numbers as ECMAScript writes them. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, entry]) => `${JSON.stringify(key)}:${canonical(entry)}`).join(',')}}`;
}
