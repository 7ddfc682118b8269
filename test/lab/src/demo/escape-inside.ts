/**
 * Second act of the demo, inside the virtual machine. It starts a lab of one node and runs the
 * escape twice: without a policy, and with policies/escape-guard.yaml.
 *
 * escape-act.ts bundles and starts this file. Each step is reported as a line of escape-lines.ts.
 * Arguments: the paths of the programs `contain` and `escape`.
 */
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import path from 'node:path';
import { encodeToken, openBucket, writeConfig } from '@bailiff/bus';
import { loadPolicyFile } from '@bailiff/runtime';
import { type NodeStatus, nodeStatus } from '@bailiff/schemas';
import { watchBus } from '../attack/bus-tally.ts';
import { CHECKOUT } from '../names.ts';
import type { LabPodInfo } from '../state/state.ts';
import { startLab } from '../supervisor/bring-up.ts';
import type { Lab } from '../supervisor/lab.ts';
import { ENFORCED_ACTIONS } from '../supervisor/provision.ts';
import { until } from '../until.ts';
import { EscapeAttack, type EscapePrograms, kernelRefusals } from './escape-attack.ts';
import { tellHost } from './escape-lines.ts';
import type { EscapeOutcome } from './escape-summary.ts';

/** Loading all programs takes 15 s under emulation on an idle machine. */
const LOADED_TIMEOUT_MS = 300_000;
const IN_FORCE_TIMEOUT_MS = 90_000;
/** Includes the pod's grace period. */
const RESPONSE_TIMEOUT_MS = 90_000;
const POLICY = 'policies/escape-guard.yaml';
const say = (text: string) => tellHost({ say: text });

async function awaitRuntime(
  lab: Lab,
  what: string,
  timeoutMs: number,
  holds: (runtime: NodeStatus['runtime']) => boolean,
) {
  const bus = await lab.bus('admin');
  const key = encodeToken(lab.parts.plan.nodes[0]!.name);
  try {
    await until(
      what,
      async () => {
        const entry = await openBucket(bus, 'bailiff_nodes').get(key);
        const runtime = entry ? nodeStatus.parse(JSON.parse(entry.value.toString('utf8'))).runtime : undefined;
        return holds(runtime) ? { value: true } : { seen: `${runtime?.state} ${runtime?.reason}` };
      },
      { timeoutMs, everyMs: 200 },
    );
  } finally {
    await bus.close();
  }
}

async function control(lab: Lab, attacker: LabPodInfo, programs: EscapePrograms) {
  say(`\nControl run: no policy. A program in ${attacker.name}, in a container with all capabilities,`);
  say("overwrites the host's core_pattern and module loader, and mounts the host's control groups.");
  const outcome = await (await EscapeAttack.start(lab, attacker, programs, 'once')).finish();
  say(
    `  effects on the host: ${outcome.seenByHost.length} of ${outcome.attempts} (${outcome.seenByHost.join(', ')}), undone`,
  );
  return outcome;
}

async function applyPolicy(lab: Lab): Promise<void> {
  const bus = await lab.bus('admin');
  try {
    for (const { key, policy } of loadPolicyFile(readFileSync(path.join(CHECKOUT, POLICY), 'utf8'), POLICY))
      await writeConfig(bus, key, policy, { by: 'demo', why: 'second act: deny escapes from containers' });
  } finally {
    await bus.close();
  }
  const podCount = lab.pods().length;
  await awaitRuntime(lab, `${POLICY} to be in force`, IN_FORCE_TIMEOUT_MS, (runtime) =>
    Boolean(runtime?.policies.some(({ state, subjects }) => state === 'in-force' && subjects >= podCount)),
  );
}

async function guarded(lab: Lab, attacker: LabPodInfo, programs: EscapePrograms) {
  say(`\nGuarded run: ${POLICY} is applied to the running pods. The same program repeats`);
  say('the escape, and uses an ordinary file, until a response deletes the pod.');
  await applyPolicy(lab);
  const bus = await lab.bus('cli');
  const watch = watchBus(bus, attacker.uid, 'lsm');
  const { tally } = watch;
  try {
    let blocked: number | null = null;
    lab.beforeTeardown(attacker.uid, async () => {
      blocked = kernelRefusals(lab, attacker);
    });
    const attack = await EscapeAttack.start(lab, attacker, programs, 'forever');
    const gone = () => !lab.pods().some((pod) => pod.uid === attacker.uid);
    const show = () => {
      const { attempts, landed } = attack.counts;
      const end = gone() ? ', pod is gone' : '';
      const live = `tried ${attempts}, landed ${landed}, on the bus ${tally.totalPackets}, verdicts ${tally.verdicts.length}, responses ${tally.finished.length}${end}`;
      tellHost({ live });
      return live;
    };
    const deleted = () => {
      const seen = show();
      return gone() ? { value: true } : { seen };
    };
    const timing = { timeoutMs: RESPONSE_TIMEOUT_MS, everyMs: 100 };
    await Promise.race([until('the escaping pod to be deleted', deleted, timing), watch.failed]);
    const counts = await attack.finish();
    const counted = () => {
      const seen = show();
      return tally.isAnswered(ENFORCED_ACTIONS) && tally.totalPackets >= counts.attempts ? { value: true } : { seen };
    };
    await Promise.race([
      until('the bus to have counted every attempt and recorded every response', counted, timing),
      watch.failed,
    ]);
    tellHost({ live: null });
    return { counts, blocked, tally, deleted: gone() };
  } finally {
    await watch.stop();
    await bus.close();
  }
}

async function act(programs: EscapePrograms): Promise<EscapeOutcome> {
  say(`  Linux ${release()} is up; starting a cluster of 1 node and 2 pods`);
  await using lab = await startLab({
    nodes: 1,
    podsPerNode: 2,
    replace: false,
    enforce: true,
    onProgress: (text) => say(`  ${text}`),
    onProblem: (text) => say(`  ! ${text}`),
  });
  say('  waiting until the collector has loaded the runtime programs');
  await awaitRuntime(lab, 'the runtime programs', LOADED_TIMEOUT_MS, (runtime) => runtime?.state === 'available');
  const [attacker, ...innocents] = lab.pods();
  const before = await control(lab, attacker!, programs);
  const { counts, blocked, tally, deleted } = await guarded(lab, attacker!, programs);
  const left = new Set(lab.pods().map(({ uid }) => uid));
  return {
    kernel: release(),
    attacker: attacker!.name,
    control: before,
    guarded: { ...counts, blocked, countedOnBus: tally.totalPackets, countedByRule: tally.packets },
    verdicts: tally.verdicts.map(({ rule, level, reason }) => ({ rule, level, reason })),
    verdictsOnOthers: tally.verdictsOnOthers.length,
    responses: tally.finished.map(({ action, phase }) => ({ action, phase })),
    deleted,
    innocents: innocents.length,
    missingInnocents: innocents.filter(({ uid }) => !left.has(uid)).map(({ name }) => name),
  };
}

const [contain = '', attack = ''] = process.argv.slice(2);
tellHost({ outcome: await act({ contain, escape: attack }) });
