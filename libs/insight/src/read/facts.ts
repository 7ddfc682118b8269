/** Reads all facts about a cluster that `status` and `doctor` judge (libs/response, problems). */
import {
  acrossElection,
  BUCKETS,
  type Bus,
  CONFIG_BUCKET,
  certificateEnds,
  isJetStreamOff,
  type KvEntry,
  LATEST_STREAMS,
  nodeOfLetter,
  openBucket,
  parseSubject,
  readNewest,
  SERVICES_BUCKET,
} from '@bailiff/bus';
import { CONFIG_KINDS, SIGNATURE_HEADER, SignedConfig } from '@bailiff/policy';
import {
  type CertificateFacts,
  type ClusterFacts,
  type DeadLetters,
  LETTERS_WITHIN_MS,
  type LetterCount,
  MAX_LETTERS,
  type StreamInfo,
  type UnsignedConfig,
} from '@bailiff/response';
import type { Reader } from '../reader.ts';
import { configValue, disarmOf } from './config.ts';
import { readExpectedNodes, readNodes } from './nodes.ts';
import { readInstances, readServices } from './services.ts';
import { readStreams } from './streams.ts';
import { readUnlogged } from './unlogged.ts';

/** Streams that people know by name, in the order of `status`. */
export const SHOWN_STREAMS = ['VIOLATIONS', 'VERDICTS', 'RESPONSES', 'DEAD_LETTERS'] as const;
const STREAMS: readonly string[] = [
  ...SHOWN_STREAMS,
  ...['CONFIG_LOG', 'SIEM', ...LATEST_STREAMS],
  ...BUCKETS.map(({ bucket }) => `KV_${bucket}`),
];

/** @param signed the signers of the reader; none: it believes what nodes and services report @throws BusError */
export function readFacts(reader: Reader, staleMs: number, signed = new SignedConfig()): Promise<ClusterFacts> {
  return acrossElection(reader.bus, reader.signal, () => readOnce(reader, staleMs, signed));
}

async function readOnce(reader: Reader, staleMs: number, signed: SignedConfig): Promise<ClusterFacts> {
  const { bus } = reader;
  const streams = await readStreams(bus, STREAMS);
  const nowMs = busTimeOf(streams) ?? reader.nowMs();
  const reading = ifThere(
    streams,
    `KV_${CONFIG_BUCKET}`,
    () => openBucket(bus, CONFIG_BUCKET).entries('>', { deleted: true }),
    [],
  );
  const [nodes, expected, entries, unlogged, instances, services, deadLetters, certificates] = await Promise.all([
    ifThere(streams, 'KV_bailiff_nodes', () => readNodes(reader), new Map()),
    ifThere(streams, 'KV_bailiff_pods', () => readExpectedNodes(reader), null),
    reading,
    ifThere(streams, 'CONFIG_LOG', async () => readUnlogged(reader, await reading, nowMs), []),
    ifThere(streams, `KV_${SERVICES_BUCKET}`, () => readInstances(bus), []),
    readServices(reader),
    readDeadLetters(reader, streams.get('DEAD_LETTERS') ?? null),
    readCertificates(reader),
  ]);
  const readers = { nodes, instances, nowMs, staleMs };
  const values = entries.filter(({ deleted }) => !deleted).map((entry) => configValue(entry, readers));
  const disarms = values
    .filter(({ key, refused }) => key.startsWith('disarm.') && refused === '')
    .flatMap(({ key, json }) => disarmOf(key, json, nowMs) ?? [])
    .sort((a, b) => a.untilMs - b.untilMs);
  const unsigned = unsignedIn(entries, signed);
  const read = {
    nodes,
    expected,
    config: values,
    unsigned,
    unlogged,
    disarms,
    instances,
    services,
    streams,
    deadLetters,
    certificates,
  };
  return { ...read, nowMs, staleMs };
}

function unsignedIn(entries: readonly KvEntry[], signed: SignedConfig): UnsignedConfig[] {
  const refused = entries.map(({ key, value, deleted, header }) => {
    const change = { key, json: deleted ? null : value.toString('utf8'), signature: header(SIGNATURE_HEADER) };
    return { key, reason: signed.refusal(change) };
  });
  const missing = signed.missing(CONFIG_KINDS).map(([key, reason]) => ({ key, reason }));
  const all = [...missing, ...refused].filter(({ reason }) => reason !== '');
  return [...new Map(all.map((one) => [one.key, one])).values()];
}

/** Ages are those of the bus, which stored what is read: the reader's clock may be wrong. */
function busTimeOf(streams: ReadonlyMap<string, StreamInfo | null>): number | null {
  const times = [...streams.values()].map((info) => Date.parse(info?.ts ?? '')).filter((ms) => !Number.isNaN(ms));
  return times.length > 0 ? Math.max(...times) : null;
}

/** A missing stream is a fact, and so is what it would hold. */
const ifThere = <T>(
  streams: ReadonlyMap<string, StreamInfo | null>,
  stream: string,
  read: () => Promise<T>,
  otherwise: T,
): Promise<T> => (streams.get(stream) ? read() : Promise.resolve(otherwise));

async function readDeadLetters({ bus, signal }: Reader, info: StreamInfo | null): Promise<DeadLetters> {
  const none = { counts: [], cut: false };
  if (!info || info.state.messages === 0) return none;
  const sinceMs = Date.parse(info.ts ?? '') - LETTERS_WITHIN_MS;
  if (Date.parse(info.state.last_ts) < sinceMs) return none;
  const counts = new Map<string, LetterCount>();
  const { cut } = await readNewest(bus, 'DEAD_LETTERS', {
    sinceMs,
    maxMessages: MAX_LETTERS,
    onMessage: ({ subject, headers }) => {
      const parsed = parseSubject(subject);
      if (parsed?.what !== 'deadletters') return;
      const { stream, reason } = parsed;
      const one = { stream, reason, node: nodeOfLetter(headers) };
      const key = JSON.stringify(one);
      counts.set(key, { ...one, count: (counts.get(key)?.count ?? 0) + 1 });
    },
    signal,
  });
  return { counts: [...counts.values()], cut };
}

async function readCertificates({ bus, server }: Reader): Promise<CertificateFacts> {
  try {
    return await certificateEnds(bus, server);
  } catch (error) {
    return (error as Error).message;
  }
}

/** Whether all streams are missing because this server has no JetStream. */
export const lacksJetStream = (bus: Bus, { streams }: Pick<ClusterFacts, 'streams'>): boolean =>
  isJetStreamOff(bus) && [...streams.values()].every((info) => info === null);
