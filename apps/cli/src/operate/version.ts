/** `bailiff version`: versions of the client and of each part that runs in the cluster. */
import { readInstances, readNodesInput } from '@bailiff/insight';
import {
  activeInstances,
  type NodesInput,
  plural,
  presentStatuses,
  reportedName,
  STALE_NODE_MS,
} from '@bailiff/response';
import type { InstanceStatus } from '@bailiff/schemas';
import { EXIT } from '@bailiff/service';
import type { Command } from 'commander';
import type { CliIo } from '../shared/io.ts';
import { onBus, outOf, type Session } from '../shared/session.ts';

const HELP = `
Examples:
  bailiff version                    client and cluster
  bailiff version --client           without the cluster
  bailiff version -o json | jq '.skew'

Exit codes: 0 also with a skew; 7 the bus of the cluster is unreachable.
`;

interface PartVersion {
  part: string;
  version: string;
  instances: number;
}

/** Patch versions are compatible. Before 1.0.0 a minor version may change what is on the bus. */
const releaseOf = (version: string) => /^v?(\d+)\.(\d+)\./.exec(version)?.slice(1, 3).join('.') ?? version;

/** Which parts differ from the client so much that it matters. */
export const skewOf = (client: string, parts: readonly PartVersion[]): PartVersion[] =>
  parts.filter(({ version }) => releaseOf(version) !== releaseOf(client));

/** What runs now: the bus keeps the status of a stopped instance for an hour, and of a former node for a month. Pure. */
export function partsOf(instances: readonly InstanceStatus[], input: NodesInput): PartVersion[] {
  const counts = new Map<string, PartVersion>();
  const add = (part: string, version: string) => {
    const key = `${part} ${version}`;
    const found = counts.get(key) ?? { part, version, instances: 0 };
    counts.set(key, { ...found, instances: found.instances + 1 });
  };
  for (const { service, version } of activeInstances(instances, input.nowMs)) add(service, version);
  // A status that cannot be read is mostly one of another version.
  for (const [, status] of presentStatuses(input))
    add('collector', typeof status === 'object' ? reportedName(status.collectorVersion) : 'unreadable');
  return [...counts.values()].sort((a, b) => (a.part < b.part ? -1 : 1));
}

async function versionsOf(session: Session): Promise<PartVersion[]> {
  const [instances, input] = await Promise.all([readInstances(session.bus), readNodesInput(session, STALE_NODE_MS)]);
  return partsOf(instances, input);
}

async function show(session: Session, json: boolean): Promise<void> {
  const { io, out, bus } = session;
  const parts = await versionsOf(session);
  const server = { part: 'nats-server', version: bus.nc.info?.version ?? 'unknown', instances: 1 };
  const skew = skewOf(io.version, parts);
  if (json) return out.json({ client: io.version, cluster: [...parts, server], skew });
  const rows = [{ part: 'client', version: io.version, instances: 1 }, ...parts, server];
  const columns = [{ title: 'PART' }, { title: 'VERSION' }, { title: 'INSTANCES', align: 'right' as const }];
  out.rows(columns, rows, ({ part, version, instances }) => [part, version, String(instances)]);
  if (skew.length > 0) {
    const texts = skew.map(({ part, version, instances }) => `${part} ${version} (${plural(instances, 'instance')})`);
    out.note(`version skew: the client is ${io.version}, and these differ: ${texts.join(', ')}`);
    out.note('use the client of the cluster; during an upgrade, docs/operations.md has the order');
  }
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('version')
    .description('versions of the client and of each part in the cluster, and whether they differ')
    .option('--client', 'only the client, without the cluster')
    .option('--json', 'one JSON document')
    .addHelpText('after', HELP);
  onBus(command, io, ({ client, json = false }: { client?: boolean; json?: boolean }) => {
    if (!client) return (session) => show(session, json);
    const out = outOf(io, command);
    if (json) out.json({ client: io.version });
    else out.line(`client ${io.version}`);
    return EXIT.ok;
  });
}
