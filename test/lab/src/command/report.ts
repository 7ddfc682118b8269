/** Reports of the lab's commands as text. Pure. */
import { type AttackOutcome, fullName } from '../attack/manual-attack.ts';
import type { LabOptions } from '../plan.ts';
import type { KnownLab, LabInfo } from '../state/state.ts';
import { counted, table } from '../text.ts';

/** Limit of listed pods. */
const MAX_PODS_SHOWN = 20;

/** Table of pods. Namespaces (also in `lab info`) are left out if the lines exceed the width. */
function podTable(info: LabInfo, width: number): string {
  const pods = info.pods.slice(0, MAX_PODS_SHOWN).map((pod) => [pod.node, pod.name, pod.ips.join(' '), pod.netns]);
  const rows = [['NODE', 'POD', 'ADDRESSES', 'NETNS'], ...pods];
  const whole = table(rows);
  return whole.split('\n').every((line) => line.length <= width) ? whole : table(rows.map((row) => row.slice(0, -1)));
}

/** @param width of the terminal; all lines fit into 80 columns */
export function upReport(info: LabInfo, options: LabOptions, detached: boolean, width: number): string {
  const guard = options.unguarded ? 'UNGUARDED: nothing is attached' : 'Every pod interface is guarded';
  const responses = options.enforce ? 'responses are executed' : 'responses are dry runs';
  return [
    `Lab ${info.id} is up: ${counted(info.nodes.length, 'node')}, ${counted(info.pods.length, 'pod')}.`,
    `${guard}; ${responses}.`,
    '',
    podTable(info, width),
    ...(info.pods.length > MAX_PODS_SHOWN ? [`… and ${info.pods.length - MAX_PODS_SHOWN} more`] : []),
    '',
    `  export KUBECONFIG=${info.kubeconfig}`,
    '  kubectl get pods -o wide',
    '  npx bailiff status',
    `  ip netns exec ${info.pods[0]?.netns ?? '<netns>'} bash   # a shell in a pod's network`,
    '',
    `bus    ${info.natsUrl}, as cli with the password in`,
    `       ${info.credentials.cli.passwordFile}`,
    `logs   ${info.dir}/logs`,
    detached ? `down   npx bailiff lab down --lab ${info.id}` : 'down   Ctrl-C',
    '',
  ].join('\n');
}

/** Result of an attack and the next commands. */
export function attackReport(outcome: AttackOutcome): string {
  const { attacker, victim, vectors, descriptions, sent, landed, cutOff } = outcome;
  const pod = fullName(attacker);
  const rows = vectors.map((vector, index) => [`  ${vector}`, descriptions[index] ?? '']);
  return [
    `${pod} on ${attacker.node} forged ${counted(sent, 'packet')}`,
    `towards ${fullName(victim)}; ${landed} landed there.`,
    ...(cutOff ? ['The pod was stopped before it had sent all packets.'] : []),
    '',
    table(rows),
    '',
    'Results:',
    `  npx bailiff events --pod ${pod}`,
    `  npx bailiff explain ${pod}`,
    '',
  ].join('\n');
}

export function listReport(labs: readonly KnownLab[]): string {
  if (labs.length === 0) return 'no lab is up\n';
  const phaseOf = ({ state, alive, dead }: KnownLab) => {
    if (!alive) return 'dead: `lab down` removes it';
    return dead.length === 0 ? (state?.phase ?? '') : `${state?.phase}, but not running: ${dead.join(', ')}`;
  };
  const rows = labs.map((lab) => [lab.id, phaseOf(lab), ...detailsOf(lab)]);
  return `${table([['ID', 'STATE', 'PID', 'CREATED', 'PODS'], ...rows])}\n`;
}

function detailsOf({ state }: KnownLab): string[] {
  return [String(state?.pid ?? ''), state?.createdAt ?? '', String(state?.info?.pods.length ?? '')];
}
