/** `bailiff events`: violations on the bus. */
import { EVENT_KINDS, type EventFilter } from '@bailiff/insight';
import { USERSPACE_VECTORS, VECTORS } from '@bailiff/policy';
import type { Command } from 'commander';
import { oneOf, parseName, placeOf } from '../shared/arguments.ts';
import { eventListing } from '../shared/event-listing.ts';
import type { CliIo } from '../shared/io.ts';
import { type ListOptions, parseListOptions, runListing, withListOptions, withPod } from '../shared/listing.ts';
import { onBus } from '../shared/session.ts';

interface Options extends ListOptions {
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
    ...placeOf(options),
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

export function register(program: Command, io: CliIo): void {
  const command = withListOptions(program.command('events'))
    .description('violations: packets and operations that were denied or audited')
    .argument('[pod]', 'as --pod')
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
