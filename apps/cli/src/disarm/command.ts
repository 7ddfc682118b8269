/** `bailiff disarm`: break-glass. What is covered is judged as audit until the time is up; the kernel ends it by itself. */
import { deleteConfig, readConfig, writeConfig } from '@bailiff/bus';
import { type ConfigKey, formatConfigKey } from '@bailiff/policy';
import type { Command } from 'commander';
import { confirm } from '../shared/confirm.ts';
import { CliError } from '../shared/errors.ts';
import type { CliIo } from '../shared/io.ts';
import { readDisarms, type StoredDisarm, scopeOf } from '../shared/read/disarms.ts';
import { readExpectedNodes, readNodes } from '../shared/read/nodes.ts';
import { parseName } from '../shared/selectors.ts';
import { optionsOf, type Session, withBusOptions, withSession } from '../shared/session.ts';
import { age, clockTime, parseSpan } from '../shared/text/time.ts';
import { disarmLines } from '../status/render.ts';

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
  json?: boolean;
}

/** Longest break-glass (libs/policy): what is to last is a policy, and is written as one. */
const MAX_DISARM_MS = 24 * 3_600_000;

const HELP = `
While disarmed, what would be dropped passes, and is counted and published as audit; responses are dry runs. That goes for
pods in quarantine too.

Examples:
  bailiff disarm                                              what is disarmed now
  bailiff disarm --namespace shop --for 30m --reason "checkout is down, is it us?"
  bailiff disarm --all --for 10m --reason "incident 4711" --yes
  bailiff disarm --namespace shop --off                       armed again, before the time

On a node without a bus: collector detach --all
`;

/** The key that a scope has; null when none is named. @throws CliError CLI_USAGE */
export function keyOf({ all, node, namespace }: Pick<Options, 'all' | 'node' | 'namespace'>): ConfigKey | null {
  const said = [all ? '--all' : '', node === undefined ? '' : '--node', namespace === undefined ? '' : '--namespace'];
  const named = said.filter(Boolean);
  if (named.length > 1) throw new CliError('CLI_USAGE', `${named.join(' and ')} exclude each other`);
  if (all) return { kind: 'disarm', scope: 'cluster', namespace: null, name: 'all' };
  if (node !== undefined) return { kind: 'disarm', scope: 'node', namespace: null, name: parseName(node, '--node') };
  if (namespace === undefined) return null;
  return { kind: 'disarm', scope: 'namespace', namespace: parseName(namespace, '--namespace'), name: 'all' };
}

/** Milliseconds. @throws CliError CLI_USAGE */
export function spanOf(options: Options): number {
  if (options.for === undefined) {
    throw new CliError('CLI_USAGE', 'for how long?', { remedy: 'say --for 30m (at most 24h); it ends by itself' });
  }
  const ms = parseSpan(options.for, '--for', MAX_DISARM_MS);
  if (ms < 1_000) throw new CliError('CLI_USAGE', `--for: "${options.for}" is shorter than a second`);
  if (!options.reason?.trim()) {
    throw new CliError('CLI_USAGE', 'why?', { remedy: 'say --reason "…": it is shown to everybody while it lasts' });
  }
  return ms;
}

/** A node that does not exist would look as if it were disarmed; a namespace may come to have pods. @throws CliError CLI_NOT_FOUND */
async function checkScope(session: Session, key: ConfigKey, force: boolean): Promise<void> {
  if (key.scope === 'cluster') return;
  const nodes = await readNodes(session);
  if (key.scope === 'namespace') {
    const pods = [...nodes.values()].flatMap((status) => (typeof status === 'string' ? [] : status.interfaces));
    if (pods.some((pod) => pod.podNamespace === key.namespace)) return;
    session.out.note(`nothing is known of ${scopeOf(key)}: no node has reported a pod in it`);
    return;
  }
  const known = [...new Set([...nodes.keys(), ...((await readExpectedNodes(session)) ?? [])])].sort();
  if (known.includes(key.name)) return;
  if (force) return session.out.note(`no node "${key.name}" is known: it is disarmed when it comes`);
  throw new CliError('CLI_NOT_FOUND', `no node "${key.name}" is known`, {
    remedy: `known: ${known.slice(0, 12).join(', ') || 'none'}\n--force disarms it all the same, for when it comes`,
  });
}

async function list({ out, io }: Session, disarms: readonly StoredDisarm[], json: boolean): Promise<number> {
  if (json) {
    out.json(
      disarms.map(({ key, scope, untilMs, by, reason }) => ({
        key: formatConfigKey(key),
        scope,
        until: new Date(untilMs).toISOString(),
        by,
        reason,
      })),
    );
  } else if (disarms.length === 0) out.line('nothing is disarmed');
  else out.lines(disarmLines(disarms, io.nowMs(), out.table));
  return 0;
}

async function disarm(session: Session, key: ConfigKey, spanMs: number, options: Options): Promise<number> {
  const { bus, io, out } = session;
  const stored = await readConfig(bus, key);
  const reason = options.reason as string;
  const by = options.by ?? io.operator;
  await checkScope(session, key, options.force ?? false);
  const scope = scopeOf(key);
  await confirm(io, `Disarm ${scope} for ${age(spanMs)}? Nothing is dropped there until then.`, options.yes);
  const untilMs = io.nowMs() + spanMs;
  const value = { until: new Date(untilMs).toISOString(), duration: options.for, reason, by };
  const expectedRevision = stored?.bucketRevision ?? 0;
  const written = await writeConfig(bus, key, value, { by, why: `disarm: ${reason}`, expectedRevision });
  if (options.json) out.json({ key: formatConfigKey(key), scope, ...JSON.parse(written.json) });
  else {
    out.line(`${scope} is disarmed until ${clockTime(untilMs * 1000, io.nowMs())} UTC (${age(spanMs)})`);
    out.note(`see it arrive: bailiff status; arm again: bailiff disarm ${flagsOf(key)} --off`);
  }
  return 0;
}

function flagsOf(key: ConfigKey): string {
  if (key.scope === 'cluster') return '--all';
  return key.scope === 'node' ? `--node ${key.name}` : `--namespace ${key.namespace}`;
}

async function arm(session: Session, key: ConfigKey, options: Options): Promise<number> {
  const { bus, io, out } = session;
  const stored = await readConfig(bus, key);
  const text = formatConfigKey(key);
  const scope = scopeOf(key);
  const others = (await readDisarms(session)).filter((one) => formatConfigKey(one.key) !== text);
  if (!stored) out.note(`${scope} was not disarmed`);
  else {
    await deleteConfig(bus, key, {
      by: options.by ?? io.operator,
      why: options.reason ? `armed again: ${options.reason}` : 'armed again',
      expectedRevision: stored.bucketRevision,
    });
  }
  const left = others.filter((one) => overlap(one.key, key));
  if (options.json) {
    out.json({ key: text, scope, disarmed: false, stillDisarmed: left.map((one) => formatConfigKey(one.key)) });
  } else if (left.length === 0) out.line(`${scope} is armed`);
  else {
    out.line(`the disarm of ${scope} is over, but others are in force:`);
    out.lines(disarmLines(left, io.nowMs(), out.table));
    for (const one of left) out.note(`arm it again: bailiff disarm ${flagsOf(one.key)} --off`);
  }
  return 0;
}

/** Whether something may be covered by both. Pure. */
export function overlap(a: ConfigKey, b: ConfigKey): boolean {
  return a.scope !== b.scope || (a.name === b.name && a.namespace === b.namespace);
}

export function register(program: Command, io: CliIo): void {
  const command = program
    .command('disarm')
    .description('break-glass: drop nothing for a while, on a node, in a namespace or everywhere')
    .option('--all', 'the whole cluster')
    .option('--node <node>', 'one node')
    .option('-n, --namespace <namespace>', 'one namespace')
    .option('--for <duration>', 'how long: 10m, 2h; at most 24h')
    .option('--reason <text>', 'why; shown to everybody while it lasts')
    .option('--by <name>', 'who (default: user@host)')
    .option('--off', 'arm again, before the time')
    .option('--force', 'a node too that nobody has heard of')
    .option('-y, --yes', 'do not ask')
    .option('--json', 'one JSON document')
    .addHelpText('after', HELP);
  withBusOptions(command).action(async () => {
    const options = optionsOf<Options>(command);
    const key = keyOf(options);
    if (!key && (options.for !== undefined || options.off)) {
      throw new CliError('CLI_USAGE', 'what?', { remedy: 'say --all, --node <node> or --namespace <namespace>' });
    }
    const spanMs = key && !options.off ? spanOf(options) : 0;
    io.exitCode = await withSession(io, command, async (session) => {
      if (!key) return list(session, await readDisarms(session), options.json ?? false);
      return options.off ? arm(session, key, options) : disarm(session, key, spanMs, options);
    });
  });
}
