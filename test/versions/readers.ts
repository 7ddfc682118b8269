/**
 * Reads recorded messages as the programs of this checkout do: schemas of other versions come from
 * the recorded bucket `bailiff_schemas`, and the correlation engine judges the recorded frames.
 */
import { decodeToken, parseSubject, ROOT, schemaKey } from '@bailiff/bus';
import { CorrelationEngine, DEFAULT_VERDICTS_PER_MINUTE, PodInventory, trialRuleHistory } from '@bailiff/correlation';
import { parseConfigKey, parseConfigValue } from '@bailiff/policy';
import {
  CLUSTER_KEY,
  clusterSnapshot,
  decodeSnapshotValue,
  decodeWithLookup,
  instanceStatus,
  nodeSnapshot,
  nodeStatus,
  ProjectedFrameRegistry,
  quarantineList,
  type SchemaLookup,
  SchemaRegistry,
  type Verdict,
} from '@bailiff/schemas';
import {
  sampleCapture,
  sampleFrame,
  sampleLsmViolation,
  sampleResponse,
  sampleVerdict,
} from '@bailiff/schemas/testing';
import { type RecordedMessage, SAMPLES } from './recording.ts';

type Message = Omit<RecordedMessage, 'value'>;

/** A message of each schema with every field set, and every kind of record within them. */
export const FULL = {
  ViolationFrame: sampleFrame({ violations: [...sampleFrame().violations, sampleLsmViolation()] }),
  Verdict: sampleVerdict(),
  Response: sampleResponse({ action: 'capture', capture: sampleCapture() }),
};
const AVRO = ['VIOLATIONS', 'VERDICTS', 'RESPONSES', SAMPLES];
const json = (message: Message) => JSON.parse(message.data.toString('utf8')) as unknown;
const keyOf = ({ stream, subject }: Message) => subject.slice(`$KV.${stream.slice('KV_'.length)}.`.length);
/** A value was deleted. */
const isGone = (message: Message) => (message.headers['KV-Operation'] ?? '') !== '';
const configJson = (message: Message) => (isGone(message) ? null : message.data.toString('utf8'));

/** As JSON stores it, so that a recorded value and a read one compare. */
export const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value)) as unknown;

export const ofStream = <M extends Message>(messages: readonly M[], stream: string): M[] =>
  messages.filter((message) => message.stream === stream);

function lookupIn(messages: readonly Message[]): SchemaLookup {
  const texts = new Map(ofStream(messages, 'KV_bailiff_schemas').map((m) => [keyOf(m), m.data.toString('utf8')]));
  return async (fingerprint) => texts.get(schemaKey(fingerprint)) ?? null;
}

/** A reader of the messages of one recording. */
export function readerOf(messages: readonly Message[]): (message: Message) => Promise<unknown> {
  const registry = new SchemaRegistry(lookupIn(messages));
  return async (message) => plain(await read(message, registry));
}

async function read(message: Message, registry: SchemaRegistry): Promise<unknown> {
  const { stream, subject } = message;
  if (AVRO.includes(stream)) return (await decodeWithLookup(message.data, registry)).value;
  if (stream === 'DEAD_LETTERS') return { ...parseSubject(subject), headers: message.headers };
  if (stream === 'SIEM') return parseSubject(subject);
  if (isGone(message)) return null;
  const config = stream === 'CONFIG_LOG' ? subject.slice(`${ROOT}.config.`.length) : keyOf(message);
  if (stream === 'CONFIG_LOG' || stream === 'KV_bailiff_config')
    return parseConfigValue(parseConfigKey(config), message.data.toString('utf8'));
  if (stream === 'KV_bailiff_pods') {
    const schema = keyOf(message) === CLUSTER_KEY ? clusterSnapshot : nodeSnapshot;
    return schema.parse(JSON.parse(decodeSnapshotValue(message.data)));
  }
  if (stream === 'KV_bailiff_quarantine') return quarantineList.parse(json(message));
  if (stream === 'KV_bailiff_nodes') return nodeStatus.parse(json(message));
  if (stream === 'KV_bailiff_services') return instanceStatus.parse(json(message));
  return null;
}

/** Verdicts of this checkout's engine over the frames of a recording. */
export async function judge(messages: readonly Message[]): Promise<Verdict[]> {
  const registry = new ProjectedFrameRegistry(lookupIn(messages));
  const inventory = new PodInventory();
  for (const message of ofStream(messages, 'KV_bailiff_pods')) {
    const { sequence: revision, timestampMicros, headers } = message;
    if (keyOf(message) === CLUSTER_KEY) continue;
    const replaces = headers['Nats-Expected-Last-Subject-Sequence'];
    inventory.apply({
      node: decodeToken(keyOf(message)),
      timestampMicros,
      revision,
      previousRevision: replaces === undefined ? null : Number(replaces),
      json: isGone(message) ? null : decodeSnapshotValue(message.data),
    });
  }
  const changes = ofStream(messages, 'CONFIG_LOG').map((message) => {
    const { sequence, timestampMicros, subject } = message;
    return { sequence, timestampMicros, key: subject.slice(`${ROOT}.config.`.length), json: configJson(message) };
  });
  const verdicts: Verdict[] = [];
  const engine = new CorrelationEngine({
    rules: trialRuleHistory(changes, {}),
    inventory,
    verdictsPerMinute: DEFAULT_VERDICTS_PER_MINUTE,
    onVerdict: (verdict) => verdicts.push(verdict),
  });
  for (const { sequence, timestampMicros, subject, data } of ofStream(messages, 'VIOLATIONS')) {
    const parsed = parseSubject(subject);
    if (parsed?.what !== 'violations') throw new Error(`${subject} is not a subject of violations`);
    const decoded = await decodeWithLookup(data, registry);
    if (decoded.name !== 'ViolationFrame') throw new Error(`${subject} has a ${decoded.name}`);
    engine.processFrame({ sequence, timestampMicros, node: parsed.node }, decoded.value);
  }
  return verdicts;
}
