/**
 * The provenance of a release: an in-toto statement with a SLSA predicate, in a signed DSSE
 * envelope. Pure but for the signature. The statement has no times, so that the same tag, options and
 * builder give the same statement.
 *
 * Formats: in-toto Statement v1, SLSA provenance v1, DSSE v1 (pre-authentication encoding).
 */
import { type KeyObject, sign, verify } from 'node:crypto';

export const PAYLOAD_TYPE = 'application/vnd.in-toto+json';
/** Names the meaning of the parameters below; docs/releases.md describes it. */
export const BUILD_TYPE = 'https://bailiff.dev/release/v1';

export interface Subject {
  readonly name: string;
  readonly digest: Readonly<Record<string, string>>;
}

export interface Build {
  readonly subjects: readonly Subject[];
  readonly tag: string;
  /** Where the files will be downloaded from. */
  readonly url: string;
  /** Without credentials; empty: unknown. */
  readonly repository: string;
  readonly commit: string;
  /** What else the result depends on. */
  readonly materials: readonly { uri: string; digest: Readonly<Record<string, string>> }[];
  readonly builder: string;
}

export interface Statement {
  readonly _type: string;
  readonly subject: readonly Subject[];
  readonly predicateType: string;
  readonly predicate: object;
}

export function statementOf(build: Build): Statement {
  const uri =
    build.repository === '' ? `git+file:#refs/tags/${build.tag}` : `git+${build.repository}@refs/tags/${build.tag}`;
  return {
    _type: 'https://in-toto.io/Statement/v1',
    subject: build.subjects,
    predicateType: 'https://slsa.dev/provenance/v1',
    predicate: {
      buildDefinition: {
        buildType: BUILD_TYPE,
        externalParameters: { tag: build.tag, url: build.url },
        resolvedDependencies: [{ uri, digest: { gitCommit: build.commit } }, ...build.materials],
      },
      runDetails: { builder: { id: build.builder } },
    },
  };
}

/** The bytes that a DSSE signature covers: type and payload, each with its length. */
function encoding(payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${payload.length} `), payload]);
}

export interface Envelope {
  readonly payloadType: string;
  readonly payload: string;
  readonly signatures: readonly { readonly sig: string }[];
}

export function signedEnvelope(statement: Statement, key: KeyObject): Envelope {
  const payload = Buffer.from(JSON.stringify(statement));
  const sig = sign(hashOf(key), encoding(payload), key).toString('base64');
  return { payloadType: PAYLOAD_TYPE, payload: payload.toString('base64'), signatures: [{ sig }] };
}

/** @returns the statement; null: no signature of this key */
export function verifiedStatement(envelope: Envelope, key: KeyObject): Statement | null {
  const payload = Buffer.from(envelope.payload, 'base64');
  const isValid = envelope.signatures.some(({ sig }) =>
    verify(hashOf(key), encoding(payload), key, Buffer.from(sig, 'base64')),
  );
  return isValid && envelope.payloadType === PAYLOAD_TYPE ? (JSON.parse(payload.toString('utf8')) as Statement) : null;
}

/** Ed25519 has a hash of its own. */
export const hashOf = (key: KeyObject): 'sha256' | null => (key.asymmetricKeyType === 'ed25519' ? null : 'sha256');
