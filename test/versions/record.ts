/**
 * `npm run record`: records the version of package.json from this checkout and its build into
 * test/versions/<version> (README.md says when).
 *
 * A lab writes the bus: policies, an attack on one node until the pod is deleted, and denied
 * operations. Every stream and bucket is read while it runs, so earlier pod lists are recorded too.
 * The script waits until this checkout's engine reproduces the published verdicts.
 * Exit codes: 0; 1 a part failed; 3 the version is released.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type Bus, consumeOrdered, FramePublisher, streamConfigs, violationSubject, writeConfig } from '@bailiff/bus';
import { type Lab, type LabPodInfo, startLab } from '@bailiff/lab';
import { castOf, chainRun } from '@bailiff/lab/attack';
import type { ConfigKey } from '@bailiff/policy';
import {
  encodeResponse,
  encodeVerdict,
  encodeViolationFrame,
  type PodRef,
  type Response,
  type Verdict,
  type ViolationFrame,
} from '@bailiff/schemas';
import { sampleFrame, sampleLsmViolation } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { Redis } from 'ioredis';
import { runCli } from '../../apps/cli/src/testing.ts';
import { FULL, judge, ofStream, plain, readerOf } from './readers.ts';
import { REDIS, type RecordedMessage, SAMPLES, writeCollector, writeMessages } from './recording.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const SETTLED_MS = 60_000;
/** A rule counts violations from one second after its write on; nothing reports when it does. */
const RULES_SETTLED_MS = 2_000;
/** Of these buckets only the newest value of a key is recorded: the others differ in times only. */
const NEWEST_ONLY = ['KV_bailiff_nodes', 'KV_bailiff_services', 'KV_bailiff_siem'];
const ACTIONS = ['observe', 'label', 'delete'];
/** Of the verdicts: on packets, by a rule of the recording, on operations, and on a node. */
const RULES = ['repeated-spoofing', 'by-owner', 'escape-attempts', 'foreign-pod-claims'];
const TERMINAL = ['succeeded', 'dryrun', 'refused', 'failed'];

type Message = Omit<RecordedMessage, 'value'>;
const progress = (text: string) => process.stderr.write(`record: ${text}\n`);
const cluster = (kind: ConfigKey['kind'], name: string): ConfigKey => {
  return { kind, scope: 'cluster', namespace: null, name };
};

/** Reads every stream and bucket until it is stopped. */
class BusRecorder {
  readonly messages: Message[] = [];
  readonly #end = new AbortController();
  readonly #reading: Promise<unknown>;

  constructor(bus: Bus) {
    const read = (stream: string) =>
      consumeOrdered(bus, stream, {
        start: 'all',
        onMessage: ({ subject, sequence, timestampMicros, headers, data }) => {
          const names = Object.fromEntries(headers?.entries() ?? []);
          const place = { stream, subject, sequence, timestampMicros };
          this.messages.push({ ...place, headers: names, data: Buffer.from(data) });
        },
        signal: this.#end.signal,
      });
    // The bucket has what its copy has.
    const names = streamConfigs().flatMap(({ name }) => (name.startsWith('LATEST_') ? [] : [name]));
    this.#reading = Promise.all(names.map(read));
  }

  async stop(): Promise<Message[]> {
    this.#end.abort();
    await this.#reading;
    const newest = new Map(this.messages.map((message) => [`${message.stream} ${message.subject}`, message]));
    return this.messages.filter(
      (message) =>
        !NEWEST_ONLY.includes(message.stream) || newest.get(`${message.stream} ${message.subject}`) === message,
    );
  }
}

/** One value of each kind of configuration, and the policies of this repository. */
async function configure(lab: Lab, bus: Bus): Promise<void> {
  const note = { by: 'recorder', why: 'a recording of this version' };
  const rule = { type: 'event_count', level: 'medium', timespan: '60s', condition: { gte: 5 }, 'group-by': 'owner' };
  const selection = { kinds: ['spoof'], actions: ['drop'] };
  const later = { match: { levels: ['high', 'critical'] }, steps: [{ action: 'observe', after: '24h' }] };
  const audited = { modes: { 'tunnel-other': 'audit' } };
  await writeConfig(bus, cluster('correlation', 'by-owner'), { ...rule, selection }, note);
  await writeConfig(bus, cluster('response', 'later'), later, note);
  await writeConfig(bus, cluster('spoof', 'default'), audited, note);
  const shop: ConfigKey = { kind: 'spoof', scope: 'namespace', namespace: 'shop', name: 'default' };
  await writeConfig(bus, shop, audited, note);
  const { cli } = lab.info().credentials;
  const env = { BAILIFF_NATS_URL: lab.natsUrl, BAILIFF_NATS_PASSWORD_FILE: cli.passwordFile };
  const files = readdirSync(path.join(ROOT, 'policies')).map((name) => path.join(ROOT, 'policies', name));
  const disarm = ['disarm', '--namespace', 'staging', '--for', '10m', '--reason', note.why];
  for (const args of [['policy', 'apply', ...files], disarm]) {
    const { exitCode, stderr } = await runCli([...args, '--yes'], { env });
    if (exitCode !== 0) throw new Error(`bailiff ${args[0]}: ${stderr}`);
  }
}

function podRefOf({ uid, namespace, name }: LabPodInfo): PodRef {
  const owner = { ownerKind: '', ownerName: '', ownerUid: '' };
  return { uid, namespace, name, serviceAccount: 'default', ...owner };
}

/** Denied operations of a pod, and a frame that names another node and becomes a dead letter. */
async function publishFrames(bus: Bus, pod: LabPodInfo): Promise<void> {
  const publisher = new FramePublisher(bus);
  const now = Date.now() * 1000;
  const violations = ['release-agent', 'core-pattern', 'kernel-memory'].map((rule) =>
    sampleLsmViolation({
      pod: podRefOf(pod),
      vector: `escape-guard/${rule}`,
      counterEpoch: `recorded/lsm/${rule}`,
      firstSeenAt: now,
      lastSeenAt: now,
    }),
  );
  const frame = sampleFrame({ nodeName: pod.node, publishedAt: now, violations, coverage: [] });
  const send = (value: ViolationFrame, msgId: string) =>
    publisher.publish(violationSubject(pod.node, 'lsm'), encodeViolationFrame(value), { msgId });
  await send(frame, 'recorded-lsm');
  await send({ ...frame, nodeName: 'another-node' }, 'recorded-foreign');
  publisher.close();
}

/** Waits until each verdict is the engine's and has its responses, and the dead letter exists. */
async function settle(recorder: BusRecorder): Promise<void> {
  const read = readerOf(recorder.messages);
  const all = <T>(stream: string) => Promise.all(ofStream(recorder.messages, stream).map(read)) as Promise<T[]>;
  const state = async () => {
    const [verdicts, responses] = [await all<Verdict>('VERDICTS'), await all<Response>('RESPONSES')];
    const unanswered = verdicts.filter(
      ({ level, verdictId }) =>
        ['high', 'critical'].includes(level) &&
        !ACTIONS.every((action) =>
          responses.some((r) => r.verdictId === verdictId && r.action === action && TERMINAL.includes(r.phase)),
        ),
    );
    const judged = (await judge(recorder.messages)).map(({ verdictId }) => verdictId);
    return {
      missing: verdicts.filter(({ verdictId }) => !judged.includes(verdictId)).map(({ rule }) => rule),
      unpublished: judged.length - verdicts.length,
      unanswered: unanswered.map(({ rule }) => rule),
      rules: [...new Set(verdicts.map(({ rule }) => rule))],
      deadLetters: ofStream(recorder.messages, 'DEAD_LETTERS').length,
      siem: ofStream(recorder.messages, 'SIEM').length,
    };
  };
  let last: Awaited<ReturnType<typeof state>> | null = null;
  const isSettled = async () => {
    const before = JSON.stringify(last);
    last = await state();
    const { missing, unpublished, unanswered, rules, deadLetters } = last;
    const isComplete = RULES.every((rule) => rules.includes(rule)) && deadLetters > 0 && unpublished === 0;
    return isComplete && missing.length === 0 && unanswered.length === 0 && before === JSON.stringify(last);
  };
  await waitFor(isSettled, { what: 'the bus to settle', timeoutMs: SETTLED_MS, intervalMs: 500, state: () => last });
  progress(JSON.stringify(last));
}

async function redisKeys(url: string): Promise<Message[]> {
  const redis = new Redis(url);
  try {
    const keys = (await redis.keys('*')).sort();
    return await Promise.all(
      keys.map(async (key, index) => ({
        stream: REDIS,
        subject: key,
        sequence: index + 1,
        timestampMicros: 0,
        headers: {},
        data: (await redis.dumpBuffer(key)) ?? Buffer.alloc(0),
      })),
    );
  } finally {
    redis.disconnect();
  }
}

/** FULL as messages. */
function samples(): Message[] {
  const messages: Record<keyof typeof FULL, Buffer> = {
    ViolationFrame: encodeViolationFrame(FULL.ViolationFrame),
    Verdict: encodeVerdict(FULL.Verdict),
    Response: encodeResponse(FULL.Response),
  };
  return Object.entries(messages).map(([subject, data], index) => ({
    stream: SAMPLES,
    subject,
    sequence: index + 1,
    timestampMicros: 0,
    headers: {},
    data,
  }));
}

async function recordBus(version: string): Promise<void> {
  const id = `rec${process.pid.toString(36)}`;
  await using lab = await startLab({ id, cni: 'bridge', enforce: true, siem: true, onProgress: progress });
  const bus = await lab.bus('admin');
  const recorder = new BusRecorder(bus);
  try {
    await configure(lab, bus);
    await setTimeout(RULES_SETTLED_MS);
    const cast = castOf(lab);
    progress('an attack, until its pod is deleted');
    await chainRun(lab, cast);
    await publishFrames(bus, cast.far);
    await settle(recorder);
    const keys = await redisKeys(lab.redisUrl);
    const messages = [...(await recorder.stop()), ...samples(), ...keys];
    const read = readerOf(messages);
    const isRead = ({ stream }: Message) => stream !== REDIS;
    const values = await Promise.all(messages.map((one) => (isRead(one) ? read(one) : null)));
    writeMessages(
      version,
      messages.map((message, index) => ({ ...message, value: plain(values[index] ?? null) })),
    );
  } finally {
    await recorder.stop();
    await bus.close();
  }
}

function recordCollector(version: string): void {
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-record-'));
  try {
    const dist = path.join(ROOT, 'apps/collector/dist');
    copyFileSync(path.join(dist, 'main.mjs'), path.join(directory, 'main.mjs'));
    cpSync(path.join(dist, 'parts'), path.join(directory, 'parts'), { recursive: true });
    const build = path.join(ROOT, 'libs/bpf/build');
    for (const name of ['spoof', 'spoof-no-offload', 'runtime'])
      copyFileSync(path.join(build, 'bpf', `${name}.bpf.o`), path.join(directory, `${name}.bpf.o`));
    const addon = path.join(directory, 'bailiff_bpf.node');
    execFileSync('strip', ['-o', addon, path.join(build, 'Release/bailiff_bpf.node')]);
    writeCollector(version, directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function main(): Promise<number> {
  const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const tags = execFileSync('git', ['tag', '--list', `v${version}`], { cwd: ROOT, encoding: 'utf8' });
  if (tags !== '') {
    progress(`${version} is released, so its recording does not change: set the next version in package.json`);
    return 3;
  }
  await recordBus(version);
  recordCollector(version);
  const directory = path.join(import.meta.dirname, version);
  const sizes = readdirSync(directory).map((name) => `${name} ${readFileSync(path.join(directory, name)).length}`);
  progress(`${version}: ${sizes.join(', ')} bytes`);
  return 0;
}

process.exitCode = await main();
