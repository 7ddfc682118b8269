/** From an attack to the response: label, quarantine and release, delete by UID, the successor. */
import { randomBytes } from 'node:crypto';
import { openBucket } from '@bailiff/bus';
import { apiPath, deletePod, type Pod } from '@bailiff/kube';
import { udp4Frame } from '@bailiff/lab/attack';
import { waitFor } from '@bailiff/service/testing';
import { nodeArgs } from '../../../tools/children.ts';
import { launch } from '../../support/process.ts';
import { type AgentPod, agentPodSpec, sceneOf } from '../agent/agent.ts';
import { create } from '../cluster/create.ts';
import { componentPods } from '../cluster/facts.ts';
import { untilGuarded } from '../cluster/guard.ts';
import type { Live, Outcome, Scenario } from './scenario.ts';
import { settled } from './scenario.ts';

/** Above the threshold of the built-in rule `repeated-spoofing`. */
const FRAMES = 50;
export const RESPONSE_TIMEOUT_MS = 60_000;

interface Step {
  action: string;
  expires?: string;
  gracePeriodSeconds?: number;
}

/** A response policy for one namespace of this run. */
export async function policy(
  live: Live,
  namespace: string,
  steps: readonly Step[],
  guards: object = {},
): Promise<void> {
  const { bus } = live.watch;
  const name = namespace;
  await live.stage.apply({
    apiVersion: 'bailiff.dev/v1alpha1',
    kind: 'ResponsePolicy',
    metadata: { name },
    spec: { dryRun: false, match: { namespaces: [namespace] }, steps, guards },
  });
  await waitFor(async () => (await readConfig(bus)).has(`response.cluster._.${name}`), {
    what: `the response policy ${name} on the bus`,
    timeoutMs: RESPONSE_TIMEOUT_MS,
    intervalMs: 200,
  });
}

async function readConfig(bus: Live['watch']['bus']): Promise<Set<string>> {
  return new Set((await openBucket(bus, 'bailiff_config').entries()).map(({ key }) => key));
}

interface Pair {
  attacker: AgentPod;
  victim: AgentPod;
  marker: Buffer;
  frame: Buffer;
}

export async function pairIn(
  live: Live,
  namespace: string,
  attackerName = 'attacker',
  known?: AgentPod,
): Promise<Pair> {
  const victim = known ?? (await live.stage.pod(namespace, 'victim'));
  const attacker = await live.stage.ready(namespace, attackerName);
  const { scene } = await sceneOf(attacker, victim, victim);
  const marker = randomBytes(16);
  await victim.watch([marker]);
  await untilGuarded(live.watch, live.node, [attacker.uid, victim.uid]);
  // The gateway's address: no pod of the suite is named as the owner.
  const link = { fromMac: scene.mac, toMac: scene.toMac };
  return { attacker, victim, marker, frame: udp4Frame({ ...link, from: scene.gateway4, to: scene.victim4 }, marker) };
}

/**
 * Sends the attack and waits for a finished response of this action by the scenario's own policy,
 * which has the name of its namespace. Other policies of the cluster may respond too.
 */
export async function attackUntil(
  live: Live,
  { attacker, frame }: Pair,
  action: string,
  timeoutMs = RESPONSE_TIMEOUT_MS,
) {
  const beginMs = Date.now();
  await attacker.send([frame], FRAMES).catch((error: Error) => {
    // A deleted pod ends the request.
    if (action !== 'delete') throw error;
  });
  const tally = live.watch.of(attacker.uid);
  const response = await waitFor(
    () => tally.finished.find((one) => one.action === action && one.policy === attacker.namespace),
    {
      what: `the response ${action}`,
      timeoutMs,
      intervalMs: 20,
      state: () => tally.responses.map((one) => [one.policy, one.action, one.phase, one.reasonCode]),
    },
  );
  const verdictAtMs = (tally.firstVerdictAtMicros ?? 0) / 1000;
  const firstAtMs = (tally.firstViolationAtMicros ?? 0) / 1000;
  return {
    response,
    measured: {
      'attack to response, ms': Date.now() - beginMs,
      'violation to verdict on the bus, ms': Math.round(verdictAtMs - firstAtMs),
    },
  };
}

const failedWith = (response: { phase: string; reasonCode: string; reason: string }): Outcome | null =>
  response.phase === 'succeeded'
    ? null
    : { status: 'failed', detail: `${response.phase} (${response.reasonCode}): ${response.reason}` };

const LABEL: Scenario = {
  name: 'response-label',
  about: 'an attack, a verdict, and the label on the pod',
  run: async (live) => {
    const namespace = await live.stage.namespace('label');
    await policy(live, namespace, [{ action: 'label', expires: '1h' }]);
    await live.stage.startPod(namespace, 'attacker');
    const pair = await pairIn(live, namespace);
    const { response, measured } = await attackUntil(live, pair, 'label');
    const bad = failedWith(response);
    if (bad) return { ...bad, measured };
    const pod = await live.kube.request<Pod>({ path: apiPath`/api/v1/namespaces/${namespace}/pods/attacker` });
    const label = pod.metadata.labels?.['bailiff.dev/verdict'];
    const victims = live.watch.of(pair.victim.uid).verdicts.length;
    if (!label) return { status: 'failed', detail: 'the pod has no label bailiff.dev/verdict', measured };
    if (victims > 0) return { status: 'failed', detail: `${victims} verdicts on the victim`, measured };
    return { status: 'passed', detail: `bailiff.dev/verdict=${label}; no verdict on the victim`, measured };
  },
};

const LABELLED_PODS = 4;
const VALKEY_TIMEOUT_MS = 240_000;

const VALKEY: Scenario = {
  name: 'response-valkey',
  about: `Valkey is deleted while ${LABELLED_PODS} pods attack; each gets its label by one response`,
  run: async (live) => {
    const [valkey] = await componentPods(live, 'valkey');
    if (!valkey) return { status: 'skipped', detail: 'Redis is external' };
    const namespace = await live.stage.namespace('valkey');
    await policy(live, namespace, [{ action: 'label', expires: '1h' }]);
    const victim = await live.stage.pod(namespace, 'victim');
    const names = Array.from({ length: LABELLED_PODS }, (_, index) => `attacker-${index}`);
    await Promise.all(names.map((name) => live.stage.startPod(namespace, name)));
    const pairs = await Promise.all(names.map((name) => pairIn(live, namespace, name, victim)));
    const { name, uid } = valkey.metadata;
    const [outcomes] = await Promise.all([
      Promise.all(pairs.map((pair) => attackUntil(live, pair, 'label', VALKEY_TIMEOUT_MS))),
      deletePod(live.kube, { namespace: live.options.namespace, name, uid, gracePeriodSeconds: 0 }),
    ]);
    const bad = outcomes.map(({ response }) => failedWith(response)).find(Boolean);
    if (bad) return bad;
    const measured = {
      'slowest response, ms': Math.max(...outcomes.map((one) => one.measured['attack to response, ms'])),
    };
    const responses = pairs.map(
      ({ attacker }) => live.watch.of(attacker.uid).finished.filter((one) => one.policy === namespace).length,
    );
    const isGood = responses.every((count) => count === 1);
    return { status: isGood ? 'passed' : 'failed', detail: `finished responses per pod: ${responses}`, measured };
  },
};

/** Datagrams of `from` that arrive at `to`. */
export async function reach(from: AgentPod, to: AgentPod): Promise<number> {
  const marker = randomBytes(16);
  await to.watch([marker]);
  await from.call({ op: 'datagrams', to: to.ip4, marker: marker.toString('hex'), count: 20 });
  return (await to.counts()).counts[marker.toString('hex')] ?? 0;
}

async function release(live: Live, pod: AgentPod): Promise<void> {
  const words = ['quarantine', 'release', `${pod.namespace}/${pod.name}`, '--reason', 'conformance run', '--yes'];
  const cli = launch(process.execPath, [...nodeArgs('apps/cli/src/main.ts'), ...words, ...live.busFlags]);
  const [code] = await cli.exit;
  if (code !== 0) throw new Error(`bailiff quarantine release: exit ${code}: ${cli.out()}`);
}

const QUARANTINE: Scenario = {
  name: 'response-quarantine',
  about: 'quarantine stops honest traffic in both directions, and a release restores it',
  run: async (live) => {
    const namespace = await live.stage.namespace('quarantine');
    await policy(live, namespace, [{ action: 'quarantine', expires: '10m' }]);
    await live.stage.startPod(namespace, 'attacker');
    const pair = await pairIn(live, namespace);
    const { attacker, victim } = pair;
    const before = [await reach(attacker, victim), await reach(victim, attacker)];
    const { response, measured } = await attackUntil(live, pair, 'quarantine');
    const bad = failedWith(response);
    if (bad) return { ...bad, measured };
    await waitFor(async () => (await live.watch.interfaceOf(live.node, attacker.uid))?.quarantinedUntil, {
      what: 'the quarantine in the status of the node',
      timeoutMs: RESPONSE_TIMEOUT_MS,
      intervalMs: 200,
    });
    const during = [await reach(attacker, victim), await reach(victim, attacker)];
    await release(live, attacker);
    await waitFor(async () => (await reach(attacker, victim)) === 20, {
      what: 'traffic after the release',
      timeoutMs: RESPONSE_TIMEOUT_MS,
      intervalMs: 200,
    });
    const after = [await reach(attacker, victim), await reach(victim, attacker)];
    const seen = `arrived of 20, from and to the pod: before ${before}, in quarantine ${during}, released ${after}`;
    const isGood = String([before, during, after]) === '20,20,0,0,20,20';
    return { status: isGood ? 'passed' : 'failed', detail: seen, measured };
  },
};

const DELETE: Scenario = {
  name: 'response-delete',
  about: 'a pod of a StatefulSet is deleted by its UID; its successor has the name, a new identity, and stays',
  run: async (live) => {
    const namespace = await live.stage.namespace('delete');
    await policy(live, namespace, [{ action: 'delete', gracePeriodSeconds: 0 }]);
    const labels = { app: 'db' };
    await create(live.kube, apiPath`/apis/apps/v1/namespaces/${namespace}/statefulsets`, {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name: 'db' },
      spec: {
        replicas: 1,
        serviceName: 'db',
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: agentPodSpec({ node: live.node, image: live.options.agentImage }) },
      },
    });
    const pair = await pairIn(live, namespace, 'db-0');
    const { response, measured } = await attackUntil(live, pair, 'delete');
    const bad = failedWith(response);
    if (bad) return { ...bad, measured };
    const successor = await live.stage.ready(namespace, 'db-0', { notUid: pair.attacker.uid });
    await untilGuarded(live.watch, live.node, [successor.uid]);
    const landed = (await pair.victim.counts()).counts[pair.marker.toString('hex')] ?? 0;
    const arrived = await reach(successor, pair.victim);
    const counted = live.watch.packets(successor.uid, 'ipv4-source');
    // Its own attack is counted for its own UID.
    const { scene } = await sceneOf(successor, pair.victim, pair.victim);
    const link = { fromMac: scene.mac, toMac: scene.toMac };
    const frame = udp4Frame({ ...link, from: scene.gateway4, to: scene.victim4 }, pair.marker);
    const [sent = 0] = await successor.send([frame], 5);
    const own = await settled(() => live.watch.packets(successor.uid, 'ipv4-source'), counted + sent);
    const verdicts = live.watch.of(successor.uid).verdicts.length;
    const seen = `successor ${successor.uid.slice(0, 8)} after ${pair.attacker.uid.slice(0, 8)}: ${arrived} of 20 honest datagrams arrived, ${counted} violations before its own, ${own - counted} of ${sent} of its own, ${verdicts} verdicts; ${landed} forged packets landed`;
    const isGood =
      arrived === 20 && counted === 0 && own === sent && verdicts === 0 && landed === 0 && successor.name === 'db-0';
    return { status: isGood ? 'passed' : 'failed', detail: seen, measured };
  },
};

export const RESPONSE_SCENARIOS: readonly Scenario[] = [LABEL, QUARANTINE, DELETE, VALKEY];
