/** Latencies on a node: packet to bus, CNI record to kernel map, pod snapshot to kernel map. */
import { BpfMap, type IfaceRecord } from '@bailiff/bpf';
import { consumeOrdered } from '@bailiff/bus';
import { ensureLabtool, labtoolArgs, startLines } from '@bailiff/lab/node';
import { decodeViolationFrame } from '@bailiff/schemas';
import { decodeIface } from '../../libs/bpf/src/spoof/encode.ts';
import { TestNode, type TestPod } from '../support/node.ts';
import { udpFrame } from '../support/udp-frame.ts';

const TRIALS = 200;
const POLL_MS = 1;
const TRIAL_TIMEOUT_MS = 10_000;

/** Polls every millisecond until the condition holds. @returns the time at which it held */
async function whenTrue(what: string, probe: () => boolean): Promise<number> {
  const deadline = performance.now() + TRIAL_TIMEOUT_MS;
  while (!probe()) {
    if (performance.now() > deadline) throw new Error(`waited ${TRIAL_TIMEOUT_MS} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return performance.now();
}

/** The collector's `ifaces` map, read from another process. */
class Ifaces {
  readonly #map: BpfMap;
  readonly #known = new Set<string>();

  constructor(pinDir: string) {
    this.#map = BpfMap.openPinned(`${pinDir}/maps/ifaces`);
  }

  /** Key of a record that is new since the last call; null if there is none. */
  newKey(): Buffer | null {
    const key = this.#map.entries().find(([k]) => !this.#known.has(k.toString('hex')))?.[0];
    if (!key) return null;
    this.#known.add(key.toString('hex'));
    return Buffer.from(key);
  }

  record(key: Buffer): IfaceRecord | null {
    const value = this.#map.get(key);
    return value && decodeIface(value);
  }

  close(): void {
    this.#map.close();
  }
}

/** The time at which the bus stored the first violation, by pod and vector. */
class Arrivals implements AsyncDisposable {
  readonly #storedAtMicros = new Map<string, number>();
  readonly #end = new AbortController();
  readonly #reading: Promise<void>;

  constructor(node: TestNode) {
    this.#reading = consumeOrdered(node.admin, 'VIOLATIONS', {
      start: 'all',
      onMessage: (message) => {
        for (const { pod, vector } of decodeViolationFrame(Buffer.from(message.data)).violations) {
          const key = `${pod?.uid}/${vector}`;
          if (!this.#storedAtMicros.has(key)) this.#storedAtMicros.set(key, message.timestampMicros);
        }
      },
      signal: this.#end.signal,
    });
  }

  firstOf(pod: TestPod, vector: string): number | undefined {
    return this.#storedAtMicros.get(`${pod.uid}/${vector}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#reading;
  }
}

/** Sends one frame of a pod. @returns wall-clock microseconds right before it was sent */
async function sendOne(pod: TestPod, frame: Buffer): Promise<number> {
  let atMicros = Number.NaN;
  const args = labtoolArgs({ netns: pod.netns }, ['send', 'eth0', '0', '1']);
  const lines = await startLines(await ensureLabtool(), args, {
    onLine: (line) => {
      const sent = JSON.parse(line) as { event: string; atMicros: number };
      if (sent.event === 'first') atMicros = sent.atMicros;
    },
  });
  const head = Buffer.alloc(2);
  head.writeUInt16BE(frame.length);
  lines.closeInput(Buffer.concat([head, frame]));
  if ((await lines.ended) !== 0) throw new Error(lines.stderrTail());
  return atMicros;
}

/** Adds pods one by one; writes each CNI record after the interface is guarded without a pod. */
async function recordToMap(node: TestNode, ifaces: Ifaces): Promise<{ ms: number[]; keys: Buffer[] }> {
  const ms: number[] = [];
  const keys: Buffer[] = [];
  for (let trial = 0; trial < TRIALS; trial += 1) {
    const pod = await node.addPod({ cni: false });
    let key: Buffer | null = null;
    await whenTrue(`a record of ${pod.hostInterface}`, () => {
      key ??= ifaces.newKey();
      return key !== null;
    });
    const own = key as unknown as Buffer;
    const begun = performance.now();
    const [done] = await Promise.all([
      whenTrue(`${pod.hostInterface} to be provisional`, () => ifaces.record(own)?.state === 'provisional'),
      node.writeCni(pod),
    ]);
    ms.push(done - begun);
    keys.push(own);
  }
  return { ms, keys };
}

/** Each trial puts the whole snapshot, in which one more pod has an allowed prefix. */
async function snapshotToMap(node: TestNode, ifaces: Ifaces, keys: readonly Buffer[]): Promise<number[]> {
  await node.putPods(1);
  const last = keys.at(-1) as Buffer;
  await whenTrue('all pods to be programmed', () => ifaces.record(last)?.state === 'programmed');
  const ms: number[] = [];
  for (const [trial, key] of keys.entries()) {
    const begun = performance.now();
    const [done] = await Promise.all([
      whenTrue(`the prefix of pod ${trial + 1} to be in force`, () => ifaces.record(key)?.hasMore === true),
      node.putPods(trial + 2, (pods) => {
        for (const pod of pods.slice(0, trial + 1)) pod.allowedPrefixes = ['10.9.0.0/16'];
      }),
    ]);
    ms.push(done - begun);
  }
  return ms;
}

async function packetToBus(node: TestNode): Promise<number[]> {
  await using arrivals = new Arrivals(node);
  const ms: number[] = [];
  for (const pod of node.pods) {
    const frame = udpFrame({ sourceMac: pod.mac, source: '10.244.1.66', destination: '10.244.0.1' });
    const sentAtMicros = await sendOne(pod, frame);
    await whenTrue(`the violation of ${pod.name}`, () => arrivals.firstOf(pod, 'ipv4-source') !== undefined);
    ms.push(((arrivals.firstOf(pod, 'ipv4-source') as number) - sentAtMicros) / 1000);
  }
  return ms;
}

export async function nodeLatencies(): Promise<Record<string, number[]>> {
  await using node = await TestNode.start();
  await node.startCollector();
  const ifaces = new Ifaces(node.pinDir);
  const { ms: record, keys } = await recordToMap(node, ifaces);
  const snapshot = await snapshotToMap(node, ifaces, keys);
  ifaces.close();
  return {
    'first spoofed packet → violation on the bus': await packetToBus(node),
    'CNI record written → kernel map': record,
    'pod change on the bus → kernel map': snapshot,
  };
}
