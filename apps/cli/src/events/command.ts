/** `bailiff events`: violations on the bus. */
import { filters } from '@bailiff/bus';
import { CounterHulls } from '@bailiff/correlation';
import { EVENT_KINDS, type EventFilter, type EventRow, eventJson, eventRows, NodeFrames } from '@bailiff/insight';
import { USERSPACE_VECTORS, VECTORS } from '@bailiff/policy';
import type { Command } from 'commander';
import { oneOf, parseName, parsePod } from '../shared/arguments.ts';
import type { CliIo } from '../shared/io.ts';
import {
  type Listing,
  type ListOptions,
  parseListOptions,
  runListing,
  withListOptions,
  withPod,
} from '../shared/listing.ts';
import { eventCells, eventColumns } from '../shared/rows/event-cells.ts';
import { onBus, type Session } from '../shared/session.ts';
import { InterfacePods } from './interface-pods.ts';

interface Options extends ListOptions {
  pod?: string;
  namespace?: string;
  node?: string;
  kind?: string;
  vector?: string;
  action?: string;
}

const EXAMPLES = `
Examples:
  bailiff events                                   packets and operations of the last hour, dropped or audited
  bailiff events --follow --pod shop/web-0         one pod, live
  bailiff events --since 1d --action audit --json  everything that enforcing would have dropped, as JSON
  bailiff events --kind lsm --vector no-shell/shell  operations that one rule denied or audited, with the program

Each row is one violation: a pod, a vector, and the number of packets or operations since the previous row of the same
pod, vector and action. So the sum of the rows is exact, also if a node sent an increment twice. A row of kind gap is one interface and the packets that it sent before its guard.
A row "refused" is the word of a node that may not report it, such as on a pod of another node. It counts nothing.
A row "waits" is about a pod that no list names now, because it is new or has just ended. Seconds later it is counted or refused.
`;

function filterOf(options: Options): EventFilter {
  return {
    pod: options.pod === undefined ? null : parsePod(options.pod, '--pod', options.namespace),
    namespace: options.namespace === undefined ? undefined : parseName(options.namespace, '--namespace'),
    node: options.node === undefined ? undefined : parseName(options.node, '--node'),
    kind: options.kind === undefined ? undefined : oneOf(options.kind, EVENT_KINDS, '--kind'),
    vector: options.vector === undefined ? undefined : vectorOf(options.vector, options.kind),
    action: options.action === undefined ? undefined : oneOf(options.action, ['drop', 'audit'], '--action'),
  };
}

/** @throws CliError CLI_USAGE */
function vectorOf(text: string, kind: string | undefined): string {
  // Runtime violations are named <policy>/<rule>.
  const [policy, rule, ...rest] = text.split('/');
  if (rule !== undefined && rest.length === 0 && (kind ?? 'lsm') === 'lsm') {
    return `${parseName(policy as string, '--vector')}/${parseName(rule, '--vector')}`;
  }
  return kind === 'lsm' ? parseName(text, '--vector') : oneOf(text, [...VECTORS, ...USERSPACE_VECTORS], '--vector');
}

export function eventListing(session: Session, filter: EventFilter, sinceMs: number): Listing<EventRow> {
  const { node, kind } = filter;
  const interfacePods = new InterfacePods(session);
  const hulls = new CounterHulls();
  const frames = new NodeFrames(session, sinceMs);
  return {
    stream: 'VIOLATIONS',
    noun: 'violations',
    filterSubjects: [
      filters.violations({
        ...(node === undefined ? {} : { node }),
        ...(kind === 'spoof' || kind === 'lsm' ? { kind } : {}),
      }),
    ],
    read: (message, take) =>
      frames.read(message, (frame) => {
        const rows = eventRows(frame, message, filter, hulls);
        if (rows.some((row) => row.kind === 'gap')) return addPodNames(interfacePods, rows, take);
        for (const row of rows) take(row);
        return undefined;
      }),
    columns: eventColumns(kind),
    cells: eventCells,
    json: eventJson,
  };
}

async function addPodNames(interfacePods: InterfacePods, rows: readonly EventRow[], take: (row: EventRow) => void) {
  for (const row of rows) {
    if (row.kind === 'gap') row.pod = await interfacePods.podOf({ nodeName: row.nodeName, ...row.gap });
    take(row);
  }
}

export function register(program: Command, io: CliIo): void {
  const command = withListOptions(program.command('events'))
    .description('violations: packets and operations that were denied or audited')
    .argument('[pod]', 'as --pod')
    .option('--pod <pod>', 'namespace/name, name or uid of a pod')
    .option('-n, --namespace <namespace>', 'pods of a namespace')
    .option('--node <node>', 'one node')
    .option('--kind <kind>', `${EVENT_KINDS.join(', ')} (gap: packets before the interface was guarded)`)
    .option('--vector <vector>', 'one vector, such as ipv4-source, or <policy>/<rule>; with --kind lsm also <policy>')
    .option('--action <action>', 'drop or audit')
    .addHelpText('after', EXAMPLES);
  onBus(command, io, (given: Options, pod: string | undefined) => {
    const options = withPod(given, pod);
    const filter = filterOf(options);
    const request = parseListOptions(options);
    return (session) => runListing(session, (sinceMs) => eventListing(session, filter, sinceMs), request);
  });
}
