/**
 * `bailiff disarm` (break-glass): denied packets and operations pass as `audit` until a time. The
 * kernel ends it, also without a collector.
 */
import { BusError, deleteConfig, readConfig, writeConfig } from '@bailiff/bus';
import {
  clockTime,
  readBusTime,
  readDisarms,
  readExpectedNodes,
  readNodes,
  readNodesInput,
  type StoredDisarm,
  scopeOf,
} from '@bailiff/insight';
import { type ConfigKey, type ConfigSigner, formatConfigKey } from '@bailiff/policy';
import {
  type ActiveDisarm,
  age,
  type DisarmsOfNode,
  namespacesText,
  presentStatuses,
  STALE_NODE_MS,
  shortList,
  unendedDisarms,
} from '@bailiff/response';
import type { NodeStatus } from '@bailiff/schemas';
import { within } from '@bailiff/service/retry';
import type { Command } from 'commander';
import { parseName, parseSpan } from '../shared/arguments.ts';
import { confirm } from '../shared/confirm.ts';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { readSigner, SIGN_HELP, signing } from '../shared/key-file.ts';
import { readBlockedPods } from '../shared/quarantined.ts';
import { disarmLines, MAX_NODES_NAMED } from '../shared/rows/cluster-status.ts';
import { onBus, type Session } from '../shared/session.ts';

interface Options {
  all?: boolean;
  node?: string;
  namespace?: string;
  for?: string;
  reason?: string;
  by?: string;
  off?: boolean;
  force?: boolean;
  yes?: boolean;
  sign?: ConfigSigner;
  json?: boolean;
}

/** Longest disarm that libs/policy accepts; a lasting exception is a policy. */
const MAX_DISARM_MS = 24 * 3_600_000;

const HELP = `
While disarmed, packets and operations that would be denied pass, and are counted and published as audit. Responses
are dry runs. This includes quarantined pods, but not their NetworkPolicies, which a network plugin may enforce.

Examples:
  bailiff disarm                                              current disarms
  bailiff disarm --namespace shop --for 30m --reason "checkout is down, is it us?"
  bailiff disarm --all --for 10m --reason "incident 4711" --yes
  bailiff disarm --namespace shop --off                       arm again before the end

On a node without a bus: collector detach --all
`;

/** The key of the given scope; null without one. @throws CliError CLI_USAGE */
export function keyOf({ all, node, namespace }: Pick<Options, 'all' | 'node' | 'namespace'>): ConfigKey | null {
  const flags = [all ? '--all' : '', node === undefined ? '' : '--node', namespace === undefined ? '' : '--namespace'];
  const named = flags.filter(Boolean);
  if (named.length > 1) throw new CliError('CLI_USAGE', `${named.join(' and ')} exclude each other`);
  if (all) return { kind: 'disarm', scope: 'cluster', namespace: null, name: 'all' };
  if (node !== undefined) return { kind: 'disarm', scope: 'node', namespace: null, name: parseName(node, '--node') };
  if (namespace === undefined) return null;
  return { kind: 'disarm', scope: 'namespace', namespace: parseName(namespace, '--namespace'), name: 'all' };
}

/** The duration in milliseconds. @throws CliError CLI_USAGE */
export function spanOf(options: Options): number {
  if (options.for === undefined) {
    throw new CliError('CLI_USAGE', '--for is missing', {
      remedy: 'pass --for 30m (at most 24h); the disarm then ends by itself',
    });
  }
  const ms = parseSpan(options.for, '--for', MAX_DISARM_MS);
  if (ms < 1_000) throw new CliError('CLI_USAGE', `--for: "${options.for}" is shorter than one second`);
  if (!options.reason?.trim()) {
    throw new CliError('CLI_USAGE', '--reason is missing', {
      remedy: 'pass --reason "…"; status shows it while the disarm lasts',
    });
  }
  return ms;
}

/** Of what is only said beside break-glass: it waits no longer than for one response of the bus. @throws BusError */
const aside = <T>({ bus: { timeoutMs } }: Session, work: Promise<T>): Promise<T> =>
  within(timeoutMs, work, () => {
    throw new BusError('BUS_TIMEOUT', `the statuses of nodes were not read within ${timeoutMs / 1000} s`);
  });

/** Break-glass is not withheld because the status of nodes cannot be read. @throws CliError CLI_NOT_FOUND */
async function checkScope(session: Session, key: ConfigKey, force: boolean): Promise<void> {
  if (key.scope === 'cluster') return;
  try {
    await aside(session, checkKnown(session, key, force));
  } catch (error) {
    if (!(error instanceof BusError)) throw error;
    session.out.note(`it was not checked that ${scopeOf(key)} exists: ${error.message}`);
  }
}

/**
 * Refuses an unknown node, which would only seem disarmed. A namespace may still get pods. @throws
 * CliError CLI_NOT_FOUND, BusError
 */
async function checkKnown(session: Session, key: ConfigKey, force: boolean): Promise<void> {
  const nodes = await readNodes(session);
  if (key.scope === 'namespace') {
    const pods = [...nodes.values()].flatMap((status) => (typeof status === 'string' ? [] : status.interfaces));
    if (pods.some((pod) => pod.podNamespace === key.namespace)) return;
    return session.out.note(`no node has reported a pod in ${scopeOf(key)}`);
  }
  const known = [...new Set([...nodes.keys(), ...((await readExpectedNodes(session)) ?? [])])].sort();
  if (known.includes(key.name)) return;
  if (force) return session.out.note(`node "${key.name}" does not exist: it is disarmed once it joins`);
  throw new CliError('CLI_NOT_FOUND', `no node "${key.name}" exists`, {
    remedy: `known nodes: ${known.slice(0, 12).join(', ') || 'none'}\n--force disarms the node once it joins`,
  });
}

/** Nodes of the cluster by their newest status, and the time of the bus. */
async function presentNodes(session: Session): Promise<{ nodes: [string, NodeStatus][]; nowMs: number }> {
  const input = await readNodesInput(session, STALE_NODE_MS);
  const nodes = presentStatuses(input).flatMap(([node, status]): [string, NodeStatus][] =>
    typeof status === 'string' ? [] : [[node, status]],
  );
  return { nodes, nowMs: input.nowMs };
}

type NamedStatus<S> = readonly [node: string, status: S];

const isDisarmed = ({ disarmedUntil }: Pick<NodeStatus, 'disarmedUntil'>, nowMs: number): boolean =>
  Date.parse(disarmedUntil ?? '') > nowMs;

/**
 * Disarms in the newest statuses that no stored disarm explains: these nodes have not read an end. The kernel
 * keeps a disarm until its time. Pure.
 */
export function unendedByNodes(
  disarms: readonly Pick<StoredDisarm, 'scope' | 'untilMs'>[],
  nodes: readonly NamedStatus<DisarmsOfNode>[],
  nowMs: number,
): ActiveDisarm[] {
  /** By what is disarmed there; empty: the whole node. */
  const found = new Map<string, { nodes: NamedStatus<DisarmsOfNode>[]; untilMs: number }>();
  for (const one of nodes) {
    const { unended } = unendedDisarms(...one, disarms, nowMs);
    const names = unended.flatMap(({ namespace }) => (namespace === null ? [] : [namespace]));
    for (const { namespace, untilMs } of unended) {
      const what = namespace === null ? '' : `${namespacesText(names)} on `;
      const known = found.get(what) ?? { nodes: [], untilMs };
      if (known.nodes.at(-1) !== one) known.nodes.push(one);
      found.set(what, { ...known, untilMs: Math.max(known.untilMs, untilMs) });
    }
  }
  const reason = 'the newest status has it, although its disarm has ended';
  return [...found].map(([what, one]) => ({
    scope: `${what}${namesOf(one.nodes)}`,
    untilMs: one.untilMs,
    by: '',
    reason,
  }));
}

/** A disarm ends what Bailiff drops, not what the network plugin does for it. */
async function noteBlocked(session: Session, keys: readonly ConfigKey[]): Promise<void> {
  if (keys.length === 0) return;
  const pods = await aside(session, readBlockedPods(session, keys)).catch((error: unknown) => {
    if (!(error instanceof BusError)) throw error;
    return null;
  });
  if (pods?.length === 0) return;
  const which = pods ? `in quarantine: ${shortList(pods, MAX_NODES_NAMED)}` : 'pods in quarantine could not be read';
  session.out.note(`${which}. ${STILL_BLOCKS}`);
}

const STILL_BLOCKS =
  'A network plugin that enforces NetworkPolicies still blocks such a pod, by that of its quarantine, until `bailiff quarantine release`';

/** Of a silent node that may not have read a disarm. */
const STILL_ENFORCES =
  'silent. If its collector ended before the disarm, its guards still drop packets, until a collector runs there';

/** Silent nodes within the scope of a disarm. Pure. */
export function silentNodes<S extends Pick<NodeStatus, 'updatedAt'>>(
  disarms: readonly Pick<StoredDisarm, 'key'>[],
  nodes: readonly NamedStatus<S>[],
  nowMs: number,
): NamedStatus<S>[] {
  const isWithin = (node: string) => disarms.some(({ key }) => key.scope !== 'node' || key.name === node);
  return nodes.filter(([node, { updatedAt }]) => isWithin(node) && nowMs - Date.parse(updatedAt) > STALE_NODE_MS);
}

const namesOf = (nodes: readonly NamedStatus<unknown>[]): string =>
  shortList(
    nodes.map(([node]) => node),
    MAX_NODES_NAMED,
  );

const OMITS = 'further namespaces are disarmed there, which its status omits';

async function list(session: Session, disarms: readonly StoredDisarm[], json: boolean): Promise<void> {
  const { out } = session;
  const inForce = disarms.filter(({ refused }) => refused === '');
  const { nodes, nowMs, unread } = await presentNodes(session).then(
    (present) => ({ ...present, unread: '' }),
    async (error: unknown) => {
      if (!(error instanceof BusError)) throw error;
      return { nodes: [], nowMs: await readBusTime(session), unread: error.message };
    },
  );
  if (unread !== '') out.note(`what nodes have is not known, only what is stored: ${unread}`);
  const more = unendedByNodes(inForce, nodes, nowMs);
  const omitting = nodes.filter(([, { disarmedNamespacesOmitted = 0 }]) => disarmedNamespacesOmitted > 0);
  if (omitting.length > 0) out.note(`${namesOf(omitting)}: ${OMITS}`);
  const silent = silentNodes(inForce, nodes, nowMs).filter(([, status]) => !isDisarmed(status, nowMs));
  if (silent.length > 0) out.note(`${namesOf(silent)}: ${STILL_ENFORCES}`);
  await noteBlocked(
    session,
    inForce.map(({ key }) => key),
  );
  if (json)
    return out.json([
      ...disarms.map(({ key, scope, untilMs, by, reason, refused }) => ({
        key: formatConfigKey(key),
        scope,
        until: new Date(untilMs).toISOString(),
        by,
        reason,
        ...(refused === '' ? {} : { refused }),
      })),
      ...more.map(({ untilMs, ...one }) => ({ key: '', ...one, until: new Date(untilMs).toISOString() })),
    ]);
  if (inForce.length + more.length === 0) out.line(unread === '' ? 'nothing is disarmed' : 'no disarm is stored');
  else out.lines(disarmLines([...inForce, ...more], nowMs, out.table));
  for (const { scope, refused } of disarms)
    if (refused !== '') out.note(`a stored disarm of ${scope} is not in force, all nodes refuse it: ${refused}`);
}

async function disarm(session: Session, key: ConfigKey, spanMs: number, options: Options): Promise<void> {
  const { bus, io, out } = session;
  const stored = await readConfig(bus, key);
  const reason = options.reason as string;
  const by = options.by ?? io.operator;
  const [silent] = await Promise.all([readSilent(session, key), checkScope(session, key, options.force ?? false)]);
  const scope = scopeOf(key);
  await confirm(io, `Disarm ${scope} for ${age(spanMs)}? Nothing is dropped there until then.`, options.yes);
  const nowMs = await readBusTime(session);
  const untilMs = nowMs + spanMs;
  const value = { until: new Date(untilMs).toISOString(), duration: options.for, reason, by };
  const expectedRevision = stored?.bucketRevision ?? 0;
  const written = await writeConfig(bus, key, value, {
    by,
    why: `disarm: ${reason}`,
    expectedRevision,
    ...signing(options.sign, io.nowMs()),
  });
  if (options.json) out.json({ key: formatConfigKey(key), scope, ...JSON.parse(written.json) });
  else {
    out.line(`${scope} is disarmed until ${clockTime(untilMs * 1000, nowMs)} UTC (${age(spanMs)})`);
    out.note(`nodes that follow: bailiff status; arm again: bailiff disarm ${flagsOf(key)} --off`);
  }
  noteSilent(session, silent, STILL_ENFORCES);
  await noteBlocked(session, [key]);
}

function flagsOf(key: ConfigKey): string {
  if (key.scope === 'cluster') return '--all';
  return key.scope === 'node' ? `--node ${key.name}` : `--namespace ${key.namespace}`;
}

async function arm(session: Session, key: ConfigKey, options: Options): Promise<void> {
  const { bus, io, out } = session;
  const stored = await readConfig(bus, key);
  const text = formatConfigKey(key);
  const scope = scopeOf(key);
  const [silent, disarms] = await Promise.all([readSilent(session, key), readDisarms(session)]);
  const inForce = disarms.filter(({ refused }) => refused === '');
  const others = inForce.filter((one) => formatConfigKey(one.key) !== text);
  const own = inForce.find((one) => formatConfigKey(one.key) === text);
  const nowMs = await readBusTime(session);
  if (!stored) out.note(`${scope} was not disarmed`);
  else {
    await deleteConfig(bus, key, {
      by: options.by ?? io.operator,
      why: options.reason ? `armed again: ${options.reason}` : 'armed again',
      expectedRevision: stored.bucketRevision,
      ...signing(options.sign, io.nowMs()),
    });
  }
  const overlapping = others.filter((one) => overlap(one.key, key));
  if (options.json) {
    out.json({ key: text, scope, disarmed: false, stillDisarmed: overlapping.map((one) => formatConfigKey(one.key)) });
  } else if (overlapping.length === 0) out.line(`${scope} is armed`);
  else {
    out.line(`the disarm of ${scope} has ended, but others are in force:`);
    out.lines(disarmLines(overlapping, nowMs, out.table));
    for (const one of overlapping) out.note(`arm again: bailiff disarm ${flagsOf(one.key)} --off`);
  }
  if (!own) return;
  const end = clockTime(own.untilMs * 1000, nowMs);
  noteSilent(session, silent, `silent, and may still be disarmed until ${end} UTC, or until a collector runs there`);
}

/**
 * The silent nodes of a scope; null when no status can be read, which stops no disarm. Read before the change: after
 * it, a bus that hangs would hide them.
 */
async function readSilent(session: Session, key: ConfigKey): Promise<NamedStatus<NodeStatus>[] | null> {
  const present = await aside(session, presentNodes(session)).catch(() => null);
  return present && silentNodes([{ key }], present.nodes, present.nowMs);
}

/** Names the silent nodes: they have not read the change. */
function noteSilent({ out }: Session, silent: readonly NamedStatus<unknown>[] | null, text: string): void {
  if (!silent) out.note('silent nodes are not known: their statuses could not be read');
  else if (silent.length > 0) out.note(`${namesOf(silent)}: ${text}`);
}

/** Whether two disarms can cover the same object. Pure. */
export function overlap(a: ConfigKey, b: ConfigKey): boolean {
  return a.scope !== b.scope || (a.name === b.name && a.namespace === b.namespace);
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('disarm')
    .description('break-glass: stop dropping for a limited time, on a node, in a namespace or everywhere')
    .option('--all', 'the whole cluster')
    .option('--node <node>', 'one node')
    .option('-n, --namespace <namespace>', 'one namespace')
    .option('--for <duration>', 'duration: 10m, 2h; at most 24h')
    .option('--reason <text>', 'reason; shown by status while the disarm lasts')
    .option('--by <name>', 'author (default: user@host)')
    .option('--sign <keyfile>', SIGN_HELP, readSigner)
    .option('--off', 'arm again before the end')
    .option('--force', 'accept a node that does not exist yet')
    .option('-y, --yes', 'do not ask for confirmation')
    .option('--json', 'one JSON document')
    .addHelpText('after', HELP);
  onBus(command, io, (options: Options) => {
    const key = keyOf(options);
    if (!key && (options.for !== undefined || options.off)) {
      throw new CliError('CLI_USAGE', 'no scope is given', {
        remedy: 'pass --all, --node <node> or --namespace <namespace>',
      });
    }
    const spanMs = key && !options.off ? spanOf(options) : 0;
    return async (session) => {
      if (!key) return list(session, await readDisarms(session), options.json ?? false);
      return options.off ? arm(session, key, options) : disarm(session, key, spanMs, options);
    };
  });
}
