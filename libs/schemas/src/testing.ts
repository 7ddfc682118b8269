/** Builders for tests: one of each message with every field set. */
import avro from 'avsc';
import type { MessageName, Messages } from './codec/registry.ts';
import type { RuntimeStatus } from './documents/node-status.ts';
import type { PodIdentity } from './documents/pods.ts';
import { CURRENT_SCHEMAS } from './generated/schemas.gen.ts';
import type {
  OperationSample,
  PodCapture,
  PodRef,
  Response,
  Verdict,
  Violation,
  ViolationFrame,
} from './generated/types.gen.ts';

/** Marker and fingerprint before a message, as in Avro's single-object encoding. */
export function headOf(fingerprint: string): Buffer {
  const head = Buffer.from([0xc3, 0x01, 0, 0, 0, 0, 0, 0, 0, 0]);
  head.writeBigUInt64LE(BigInt(`0x${fingerprint}`), 2);
  return head;
}

/** Encodes a message without limits, as a malicious client can. */
export function encodeUnlimited<N extends MessageName>(name: N, value: Messages[N]): Buffer {
  const schema = CURRENT_SCHEMAS.find((one) => one.name === name) as (typeof CURRENT_SCHEMAS)[number];
  const options = { wrapUnions: 'never' } as Partial<avro.ForSchemaOptions>;
  return Buffer.concat([
    headOf(schema.fingerprint),
    avro.Type.forSchema(JSON.parse(schema.text) as avro.Schema, options).toBuffer(value),
  ]);
}

export const SAMPLE_TIME_MICROS = 1_790_000_000_123_456;

export function sampleViolation(part: Partial<Violation> = {}): Violation {
  return {
    kind: 'spoof',
    vector: 'ipv4-source',
    action: 'drop',
    state: 'programmed',
    counterEpoch: '7d3a9c52-0b1f-4a62-8a2e-0d3f5b0c9f11/12/1/ipv4-source/drop/programmed',
    cumulativePackets: 4_321,
    cumulativeSkbs: 4_000,
    cumulativeBytes: 276_544,
    count: 1,
    suppressed: 320,
    firstSeenAt: SAMPLE_TIME_MICROS - 1_000_000,
    lastSeenAt: SAMPLE_TIME_MICROS,
    final: false,
    interfaceName: 'veth1a2b3c4d',
    ifindex: 12,
    generation: 1,
    pod: {
      uid: '0f0e0d0c-1111-4222-8333-444455556666',
      namespace: 'default',
      name: 'attacker-0',
      serviceAccount: 'default',
      ownerKind: 'StatefulSet',
      ownerName: 'attacker',
      ownerUid: '0f0e0d0c-aaaa-4222-8333-444455556666',
    },
    sample: {
      observedAt: SAMPLE_TIME_MICROS,
      direction: 'transmit',
      etherType: 0x0800,
      l4Protocol: 17,
      claimedMac: '02:00:00:00:00:01',
      expectedMac: '02:00:00:00:00:01',
      claimedAddress: '192.0.2.7',
      expectedAddress: '10.1.0.4',
      destinationAddress: '10.1.0.5',
      sourcePort: 40_000,
      destinationPort: 53,
      length: 60,
      gsoSegments: 1,
      cgroupId: '18446744073709551615',
      socketCookie: '4711',
      head: Buffer.from(Array.from({ length: 60 }, (_, index) => index)),
      process: null,
    },
    detail: '',
    operation: null,
    policy: '',
    policyRevision: 0,
    severity: '',
    tags: [],
    message: '',
    ...part,
  };
}

export function sampleOperation(part: Partial<OperationSample> = {}): OperationSample {
  return {
    observedAt: SAMPLE_TIME_MICROS,
    operation: 'write',
    outcome: 'block',
    subject: '/sys/fs/cgroup/release_agent',
    address: '',
    port: 0,
    protocol: 0,
    tgid: 4_242,
    tid: 4_243,
    parentTgid: 4_200,
    uid: 0,
    gid: 4_294_967_295,
    capabilities: '00000000a80425fb',
    comm: 'sh',
    executable: '/bin/sh',
    parentExecutable: '/usr/bin/node',
    arguments: ['sh', '-c', 'id'],
    cgroupId: '8123',
    containerId: 'containerd://0123abcd',
    containerName: 'app',
    socketCookie: '',
    ...part,
  };
}

/** A violation of a runtime policy. */
export function sampleLsmViolation(part: Partial<Violation> = {}): Violation {
  return sampleViolation({
    kind: 'lsm',
    vector: 'escape-guard/release-agent',
    counterEpoch: '7d3a9c52-0b1f-4a62-8a2e-0d3f5b0c9f11/lsm/7/3/escape-guard/release-agent/drop',
    cumulativeSkbs: 0,
    cumulativeBytes: 0,
    interfaceName: '',
    ifindex: 0,
    generation: 7,
    sample: null,
    operation: sampleOperation(),
    policy: 'runtime.cluster._.escape-guard',
    policyRevision: 3,
    severity: 'critical',
    tags: ['attack.t1611'],
    message: 'A container tries to leave.',
    ...part,
  });
}

export function sampleFrame(part: Partial<ViolationFrame> = {}): ViolationFrame {
  return {
    nodeName: 'node-1.example',
    bootId: '7d3a9c52-0b1f-4a62-8a2e-0d3f5b0c9f11',
    frameSequence: 42,
    publishedAt: SAMPLE_TIME_MICROS + 500,
    collectorVersion: '0.1.0',
    violations: [sampleViolation(), sampleViolation({ vector: 'arp-sender', pod: null, sample: null, final: true })],
    coverage: [
      {
        interfaceName: 'veth1a2b3c4d',
        ifindex: 12,
        generation: 1,
        packetsBeforeGuard: 3,
        appearedToGuardedMicros: 812,
      },
    ],
    ...part,
  };
}

export function sampleVerdict(part: Partial<Verdict> = {}): Verdict {
  return {
    verdictId: '5f1d3c7a9b2e4d60',
    rule: 'repeated-spoofing',
    ruleType: 'event_count',
    level: 'high',
    groupBy: 'pod',
    groupKey: '0f0e0d0c-1111-4222-8333-444455556666',
    configRevision: 7,
    triggeredAt: SAMPLE_TIME_MICROS,
    windowStartAt: SAMPLE_TIME_MICROS - 60_000_000,
    observed: 321,
    threshold: 10,
    vectors: ['ipv4-source'],
    nodeName: 'node-1.example',
    pod: {
      uid: '0f0e0d0c-1111-4222-8333-444455556666',
      namespace: 'default',
      name: 'attacker-0',
      ownerKind: 'StatefulSet',
      ownerName: 'attacker',
      ownerUid: '0f0e0d0c-aaaa-4222-8333-444455556666',
    },
    evidence: [{ streamSequence: 99, index: 0, vector: 'ipv4-source', packets: 321, process: null }],
    evidenceOmitted: 0,
    reason: '321 packets in 60 s, threshold 10',
    tags: ['attack.t1557'],
    audited: false,
    ...part,
  };
}

export function sampleCapture(): PodCapture {
  const process = { pid: 4_711, parentPid: 1, startedAt: SAMPLE_TIME_MICROS, uid: 0, container: 'app', comm: 'nc' };
  const socket = {
    protocol: 'tcp',
    local: '10.1.0.4:4444',
    remote: '10.1.0.9:80',
    state: 'established',
    pids: [4_711],
  };
  return {
    takenAt: SAMPLE_TIME_MICROS,
    arguments: 'full',
    processes: [{ ...process, executable: '/bin/nc', args: ['nc', '-l'], argsCut: false }],
    processesOmitted: 0,
    sockets: [socket],
    socketsOmitted: 0,
  };
}

export function sampleResponse(part: Partial<Response> = {}): Response {
  return { ...BASE_RESPONSE, ...part };
}

const BASE_RESPONSE: Response = {
  responseId: '9c0de1f25a3b4c77',
  verdictId: '5f1d3c7a9b2e4d60',
  policy: 'default',
  action: 'delete',
  phase: 'succeeded',
  reasonCode: '',
  reason: 'the pod was deleted',
  level: 'high',
  rule: 'repeated-spoofing',
  podUid: '0f0e0d0c-1111-4222-8333-444455556666',
  podNamespace: 'default',
  podName: 'attacker-0',
  ownerKind: 'StatefulSet',
  ownerName: 'attacker',
  ownerUid: '0f0e0d0c-aaaa-4222-8333-444455556666',
  claimedOwnerUid: '',
  nodeName: 'node-1.example',
  recordedAt: SAMPLE_TIME_MICROS + 80_000,
  attempt: 1,
  apiVerb: 'DELETE',
  apiPath: '/api/v1/namespaces/default/pods/attacker-0',
  apiStatus: 200,
  expiresAt: null,
  capture: null,
};

type JsonSchema = Record<string, unknown>;

/** A string, list or record of a JSON document with its limit; null: no limit. */
export interface DocumentField {
  path: string;
  kind: 'text' | 'list' | 'record';
  limit: number | null;
}

/** Every string, list and record of a document, from its JSON Schema. An enum limits its strings. */
export function documentFields(schema: unknown, path = ''): DocumentField[] {
  if (typeof schema !== 'object' || schema === null) return [];
  const { type, properties, items, additionalProperties, propertyNames, maxLength, maxItems, maxProperties, ...rest } =
    schema as JsonSchema;
  const variants = ['anyOf', 'oneOf', 'allOf'].flatMap((key) => (rest[key] as unknown[] | undefined) ?? []);
  const limit = (value: unknown) => (typeof value === 'number' ? value : null);
  const fields = Object.entries((properties ?? {}) as JsonSchema).flatMap(([name, field]) =>
    documentFields(field, path === '' ? name : `${path}.${name}`),
  );
  const own: DocumentField[] = [];
  const isWord = 'enum' in rest || 'const' in rest;
  if (type === 'string' && !isWord) own.push({ path, kind: 'text', limit: limit(maxLength) });
  if (type === 'array') own.push({ path, kind: 'list', limit: limit(maxItems) });
  const isRecord = typeof additionalProperties === 'object' && additionalProperties !== null;
  if (isRecord) {
    own.push({ path, kind: 'record', limit: limit(maxProperties) });
    own.push(
      ...documentFields(propertyNames, `${path}.<name>`),
      ...documentFields(additionalProperties, `${path}.<value>`),
    );
  }
  return [
    ...own,
    ...fields,
    ...documentFields(items, `${path}[]`),
    ...variants.flatMap((one) => documentFields(one, path)),
  ];
}

/** A pod as ipam-sync lists it in the snapshot of its node. */
export function samplePodIdentity(part: Partial<PodIdentity> = {}): PodIdentity {
  return {
    uid: '0f0e0d0c-1111-4222-8333-444455556666',
    namespace: 'shop',
    name: 'web-0',
    labels: { app: 'web' },
    serviceAccount: 'web',
    owners: [{ kind: 'Deployment', name: 'web', uid: 'd-1' }],
    interfaces: [],
    hostNetwork: false,
    containers: [],
    allowedPrefixes: [],
    probePorts: [],
    revision: 1,
    createdAt: '2026-01-01T00:00:00Z',
    ...part,
  };
}

/** The pod of a violation or verdict as ipam-sync lists it. It has no labels. */
export function podIdentityOf(ref: PodRef, part: Partial<PodIdentity> = {}): PodIdentity {
  const { uid, namespace, name, serviceAccount, ownerKind, ownerName, ownerUid } = ref;
  const owners = ownerUid === '' ? [] : [{ kind: ownerKind, name: ownerName, uid: ownerUid }];
  return samplePodIdentity({ uid, namespace, name, serviceAccount, owners, labels: {}, ...part });
}

/** One interface of a pod with these addresses. */
export const sampleInterfaces = (...addresses: string[]): PodIdentity['interfaces'] => [
  { name: 'eth0', addresses, mac: null },
];

/** A node that can enforce runtime policies, and has none. */
export const sampleRuntimeStatus = (part: Partial<RuntimeStatus> = {}): RuntimeStatus => ({
  state: 'available',
  reason: '',
  remedy: '',
  missingHooks: [],
  policies: [],
  policiesOmitted: 0,
  subjects: 0,
  sets: 0,
  losses: {},
  maps: [],
  ...part,
});
