/**
 * `bailiff doctor --would-drop`: what enforcing would have dropped, from what was audited. Packets are exact, by pod, vector and whether the
 * pod's interface was known.
 */
import { defaultMode, formatConfigKey, TUNABLE_VECTORS, type Vector } from '@bailiff/policy';
import type { PodRef } from '@bailiff/schemas';
import { podName } from '../shared/arguments.ts';
import { readStream } from '../shared/bus/read-stream.ts';
import { Tally, type TallyGroup } from '../shared/read/tally.ts';
import { claimOf, destinationOf } from '../shared/rows/event-rows.ts';
import type { Session } from '../shared/session.ts';
import { named, plural } from '../shared/text/plural.ts';
import { type Cell, type Column, table } from '../shared/text/table.ts';
import { clockTime, isoMicros } from '../shared/text/time.ts';

export interface Audited {
  pod: PodRef | null;
  interfaceName: string;
  nodeName: string;
  vector: string;
}
type Group = TallyGroup<Audited>;

const COLUMNS: readonly Column[] = [
  { title: 'POD', min: 14, cut: 'within' },
  { title: 'VECTOR' },
  { title: 'PACKETS', align: 'right' },
  { title: 'LAST (UTC)' },
  { title: 'NEWEST CLAIM', min: 12, spare: true },
  { title: 'SENT TO', min: 12, spare: true },
  { title: 'OWNER', min: 10, spare: true },
  { title: 'NODE', min: 8, spare: true },
];
/** Pods that one look can take; --json has all. */
const MAX_ROWS = 50;
/** Rules of policies that one line names. */
const MAX_RULES = 6;

function cellsOf({ key, packets, lastAtMicros, sample }: Group, nowMs: number): Cell[] {
  const { pod, interfaceName, nodeName, vector } = key;
  return [
    pod ? podName(pod) : `? (${interfaceName})`,
    vector,
    String(packets),
    clockTime(lastAtMicros, nowMs),
    sample ? claimOf(sample) : '',
    sample ? destinationOf(sample) : '',
    pod?.ownerName ? `${pod.ownerKind} ${pod.ownerName}` : '',
    nodeName,
  ];
}

/** How each vector is enforced, and how one namespace is left out: commands on lines of their own, to be copied. Pure. */
export function adviceOf(groups: readonly Group[]): string[] {
  const vectors = [...new Set(groups.map(({ key }) => key.vector))];
  const audited = vectors.filter((vector) => isTunable(vector) && defaultMode(vector) === 'audit');
  const set = '  bailiff config set spoof.cluster._.default';
  const lines: string[] = [];
  if (audited.length > 0) lines.push('To drop these:', `${set} ${audited.map((v) => `modes.${v}=enforce`).join(' ')}`);
  if (vectors.includes('unknown-interface')) {
    lines.push('To drop what interfaces send of which nothing is known:', `${set} unknown=enforce`);
  }
  const excepted = groups.find(({ key }) => key.pod && audited.includes(key.vector))?.key;
  if (excepted?.pod) {
    const { namespace } = excepted.pod;
    const key = formatConfigKey({ kind: 'spoof', scope: 'namespace', namespace, name: 'default' });
    lines.push(`But not in ${namespace}:`, `  bailiff config set ${key} modes.${excepted.vector}=audit`);
  }
  const enforced = vectors.filter((vector) => !audited.includes(vector) && vector !== 'unknown-interface');
  if (enforced.length > 0) {
    const are = enforced.length === 1 ? 'is' : 'are';
    lines.push(
      `${enforced.join(', ')} ${are} dropped unless somebody said otherwise; who did:`,
      '  bailiff config list --kind spoof; bailiff disarm',
    );
  }
  return lines;
}

const isTunable = (vector: string): vector is Vector => (TUNABLE_VECTORS as readonly string[]).includes(vector);

function groupJson({ key, packets, violations, firstAtMicros, lastAtMicros }: Group) {
  const { pod, ...rest } = key;
  return { pod, ...rest, packets, violations, firstAt: isoMicros(firstAtMicros), lastAt: isoMicros(lastAtMicros) };
}

/** What policies in audit mode would have refused, in one line; empty for nothing. Pure. */
export function operationsNote(groups: readonly TallyGroup<{ vector: string }>[]): string {
  if (groups.length === 0) return '';
  const rules = groups.map(({ key, packets }) => `${key.vector} ${packets}`);
  return `runtime policies audited ${named(rules, MAX_RULES)}: see \`bailiff events --kind lsm --action audit\``;
}

export async function wouldDrop(session: Session, since: string, sinceMs: number, json: boolean): Promise<number> {
  const { bus, decoder, io, out } = session;
  const tally = new Tally<Audited>(({ pod, interfaceName, nodeName, vector }) =>
    [pod?.uid ?? `${nodeName}/${interfaceName}`, vector].join(' '),
  );
  const operations = new Tally<{ vector: string }>(({ vector }) => vector);
  const { cut } = await readStream(bus, 'VIOLATIONS', {
    sinceMs,
    onMessage: (message) =>
      decoder.read(message, 'ViolationFrame', ({ nodeName, violations }) => {
        for (const violation of violations) {
          if (violation.action !== 'audit') continue;
          if (violation.kind === 'lsm') {
            operations.add({ vector: violation.vector }, violation, message.sequence);
            continue;
          }
          const { pod, interfaceName, vector } = violation;
          tally.add({ pod, interfaceName, nodeName, vector }, violation, message.sequence);
        }
      }),
    signal: io.signal,
  });
  const groups = tally.groups();
  const packets = groups.reduce((sum, group) => sum + group.packets, 0);
  if (cut) out.note(`only the newest violations since ${since} were looked at: there are very many`);
  if (tally.inexact) out.note('there are more counters than are kept: some packets may be counted twice');
  decoder.reportUndecodable(out);
  if (json) {
    const refused = operations.groups().map(({ key, packets: times }) => ({ ...key, times }));
    out.json({ since, packets, groups: groups.map(groupJson), operations: refused });
    return 0;
  }
  const audited = operationsNote(operations.groups());
  if (audited !== '') out.note(audited);
  if (groups.length === 0) {
    out.line(`nothing was audited since ${since}: enforcing would have dropped nothing more than it does`);
    return 0;
  }
  const pods = new Set(groups.map(({ key }) => key.pod?.uid ?? key.interfaceName)).size;
  out.line(`Enforcing would have dropped ${plural(packets, 'packet')} of ${plural(pods, 'pod')} since ${since}:`);
  out.line();
  out.lines(
    table(
      COLUMNS,
      groups.slice(0, MAX_ROWS).map((group) => cellsOf(group, io.nowMs())),
      out.table,
    ),
  );
  if (groups.length > MAX_ROWS) out.note(`… and ${groups.length - MAX_ROWS} more: --json has all`);
  out.lines(['', ...adviceOf(groups)]);
  return 0;
}
