/**
 * What if: the rules that can be tried, and a trial of one of them by `bailiff backtest`'s own fold, as
 * views of the console.
 */
import { CONFIG_BUCKET, openBucket, storedConfig } from '@bailiff/bus';
import type { RulesView, RuleView, SectionView, TrialRequest, TrialView } from '@bailiff/console';
import { DEFAULT_VERDICTS_PER_MINUTE } from '@bailiff/correlation';
import type { Reader } from '@bailiff/insight';
import {
  BUILT_IN_RESPONSE_POLICIES,
  BUILT_IN_RULES,
  ConfigError,
  type ConfigKey,
  effectiveMode,
  formatConfigKey,
  MODES,
  SPOOF_CLUSTER_KEY,
  type SpoofCluster,
  type SpoofScoped,
  spoofCluster,
  spoofScopeKeys,
  TUNABLE_VECTORS,
} from '@bailiff/policy';
import { plural, scopeName } from '@bailiff/response';
import { runBacktest } from '../shared/backtest/backtest.ts';
import { type ReportWriter, writeReport } from '../shared/backtest/render.ts';
import { type Report, reportOf } from '../shared/backtest/report.ts';
import { namesOf, parseRulesFile } from '../shared/backtest/trial-rules.ts';
import { assign, parseAssignment } from '../shared/config/assignments.ts';
import { valueIn, valueToEdit } from '../shared/config/change.ts';
import { parseKey } from '../shared/config-keys/keys.ts';
import { CliError } from '../shared/errors.ts';
import { shortName } from '../shared/policy/names.ts';
import { namedPolicies, readPolicies } from '../shared/policy/stored.ts';
import type { Cell, Column } from '../shared/text/table.ts';
import { documentText, yamlLines } from '../shared/text/yaml.ts';
import { MAX_ASSIGNMENTS, storedByKey } from './changes/proposal.ts';
import { trialStart } from './reading.ts';
import { rowOf, tableOf } from './tables.ts';

/** Rows of one table. */
const MAX_ROWS = 100;
const ABOUT_MODES =
  'Which forged packets are dropped: enforce drops and counts them, audit counts them and lets them pass, off lets them pass uncounted.';

type Value = Record<string, unknown>;
const KINDS: readonly string[] = ['correlation', 'response', 'spoof'];

/** Modes of packets that hold for a key: its own, and those of the wider scopes. */
function modeFields(key: ConfigKey, inForce: (key: string) => Value | undefined): RuleView['fields'] {
  const { scope, namespace, name } = key;
  const narrower = spoofScopeKeys(namespace ?? '', scope === 'workload' ? name : null);
  const keys = scope === 'cluster' ? [] : scope === 'workload' ? narrower : narrower.slice(0, 1);
  const scopes = [SPOOF_CLUSTER_KEY, ...keys].map((one) => inForce(one) as SpoofScoped | undefined);
  const field = (path: string, label: string, value: unknown) => ({
    ...{ path, label, value: String(value), choices: MODES.toReversed() },
  });
  const unknown = (inForce(SPOOF_CLUSTER_KEY) as SpoofCluster | undefined)?.unknown ?? spoofCluster.parse({}).unknown;
  return [
    ...TUNABLE_VECTORS.map((vector) => field(`modes.${vector}`, vector, effectiveMode(vector, scopes))),
    ...(scope === 'cluster' ? [field('unknown', 'unknown-interface', unknown)] : []),
  ];
}

/** Fields that a person may try. A level decides which response policies match. */
function fieldsOf({ kind }: ConfigKey, value: Value): RuleView['fields'] {
  const at = (path: string) =>
    path.split('.').reduce<unknown>((inner, name) => (inner as Value | undefined)?.[name], value);
  const field = (path: string, label: string, choices: string[] = []) =>
    at(path) === undefined ? [] : [{ path, label, value: String(at(path)), choices }];
  const onOff = ['true', 'false'];
  if (kind === 'response') {
    return [...field('dryRun', 'Dry run: only record what would be done', onOff), ...field('enabled', 'In use', onOff)];
  }
  const levels = ['informational', 'low', 'medium', 'high', 'critical'];
  return [
    ...field('condition.gte', 'Threshold: a verdict from this many on'),
    ...field('timespan', 'Window, such as 60s or 10m'),
    ...field('level', 'Level', levels),
    ...field('enabled', 'In use', onOff),
  ];
}

export async function readRules(reader: Reader): Promise<RulesView> {
  const stored = await storedByKey(reader);
  const builtIn = [
    ...Object.keys(BUILT_IN_RULES).map((name) => `correlation.cluster._.${name}`),
    ...Object.keys(BUILT_IN_RESPONSE_POLICIES).map((name) => `response.cluster._.${name}`),
    SPOOF_CLUSTER_KEY,
  ];
  const keys = [...new Set([...builtIn, ...stored.keys()])].sort().flatMap(readKey);
  const inForce = (text: string) => valueIn(stored.get(text) ?? null) as Value | undefined;
  const rules = keys.map((key): RuleView => {
    const text = formatConfigKey(key);
    const value = valueToEdit(key, stored.get(text) ?? null);
    const { kind, name, namespace, scope } = key;
    const isOfPackets = kind === 'spoof';
    const workload = scope === 'workload' ? name : null;
    return {
      key: text,
      name: isOfPackets ? scopeName({ namespace: scope === 'cluster' ? null : namespace, workload }) : name,
      kind: kind as RuleView['kind'],
      description: isOfPackets ? ABOUT_MODES : typeof value['description'] === 'string' ? value['description'] : '',
      yaml: yamlLines(value).join('\n'),
      fields: isOfPackets ? modeFields(key, inForce) : fieldsOf(key, value),
      whyNot: '',
    };
  });
  const policies = namedPolicies(await readPolicies(reader)).map((one) => ({ key: one.key, name: shortName(one) }));
  return { rules, policies };
}

/** Empty for a key of another kind, and for one that readers do not read. */
function readKey(text: string): ConfigKey[] {
  if (!KINDS.includes(text.split('.')[0] ?? '')) return [];
  try {
    return [parseKey(text)];
  } catch (error) {
    if (error instanceof ConfigError) return [];
    throw error;
  }
}

const FATES = { enforce: 'dropped', audit: 'passed and counted', off: 'passed and not counted' };

/** Sections instead of lines of a terminal. */
class ViewWriter implements ReportWriter {
  readonly sections: SectionView[] = [{ title: 'What was judged again', lines: [], table: null }];
  get #last(): SectionView {
    return this.sections.at(-1) as SectionView;
  }
  text(sentence: string): void {
    this.#last.lines.push(sentence);
  }
  note(sentence: string): void {
    this.#last.lines.push(sentence);
  }
  heading(text: string): void {
    // A terminal has headings in capitals.
    this.sections.push({ title: text.charAt(0) + text.slice(1).toLowerCase(), lines: [], table: null });
  }
  table(columns: readonly Column[], rows: readonly Cell[][]): void {
    this.#last.table = tableOf(
      columns,
      rows.map((cells, index) => rowOf(columns, String(index), cells)),
      MAX_ROWS,
    );
  }
}

function headlineOf({ range, verdicts, responses, packets }: Report): { headline: string; isSame: boolean } {
  if (range.frames === 0)
    return { headline: 'No violation is stored for this time: nothing can be said', isSame: true };
  const changed = verdicts?.comparison;
  const [more, fewer, moved] = [
    changed?.appeared.length ?? 0,
    changed?.vanished.length ?? 0,
    changed?.moved.length ?? 0,
  ];
  const [acts, spared] = [responses.comparison?.appeared.length ?? 0, responses.comparison?.vanished.length ?? 0];
  const parts = [
    ...packets.changed.map(({ vector, to, packets: count }) => `${plural(count, 'packet')} of ${vector} ${FATES[to]}`),
    ...(more > 0 ? [`${plural(more, 'verdict')} more`] : []),
    ...(fewer > 0 ? [`${plural(fewer, 'verdict')} fewer`] : []),
    ...(moved > 0 ? [`${moved} at another time or level`] : []),
    ...(acts > 0 ? [`${plural(acts, 'response')} more`] : []),
    ...(spared > 0 ? [`${plural(spared, 'response')} fewer`] : []),
  ];
  const isSame = parts.length === 0;
  return {
    headline: isSame ? 'Nothing would have been different' : `There would have been ${parts.join(', ')}`,
    isSame,
  };
}

/** @throws CliError for a key, field or value that cannot be; BusError; the signal's reason */
export async function runTrial(
  reader: Reader & { notes: string[] },
  { key: text, assignments, since, onProgress }: TrialRequest,
): Promise<TrialView> {
  const key = parseKey(text);
  if (!KINDS.includes(key.kind))
    throw new CliError('CLI_USAGE', `"${text}" is no rule, response policy or mode of packets`);
  if (assignments.length === 0 || assignments.length > MAX_ASSIGNMENTS)
    throw new CliError('CLI_USAGE', 'nothing is changed', { remedy: 'change at least one field, and then try it' });
  const sinceMs = await trialStart(reader, since);
  const newest = await openBucket(reader.bus, CONFIG_BUCKET).newest(formatConfigKey(key));
  const value = assign(valueToEdit(key, newest && storedConfig(newest)), assignments.map(parseAssignment));
  const document = { [formatConfigKey(key)]: value };
  const trialRules = parseRulesFile(document, key.name);
  const result = await runBacktest(reader, {
    sinceMicros: sinceMs * 1000,
    untilMicros: Number.POSITIVE_INFINITY,
    trialRules,
    only: false,
    cold: false,
    verdictsPerMinute: DEFAULT_VERDICTS_PER_MINUTE,
    onProgress,
  });
  const report = reportOf(result, namesOf(trialRules));
  const writer = new ViewWriter();
  writeReport(report, writer);
  reader.decoder.reportUndecodable(reader);
  return {
    ...headlineOf(report),
    sections: differencesFirst(writer.sections),
    apply: `bailiff config set ${formatConfigKey(key)} ${assignments.map(quoted).join(' ')} --reason "…"`,
    command: `bailiff backtest --rules trial.yaml --since ${since}`,
    fileName: 'trial.yaml',
    yaml: documentText(document),
    notes: [...reader.notes],
  };
}

/** What was judged, and how far it can be trusted, comes after the differences. */
function differencesFirst(sections: readonly SectionView[]): SectionView[] {
  const isGround = ({ title }: SectionView) => /^(What was judged|Live rules against)/.test(title);
  return [...sections.filter((one) => !isGround(one)), ...sections.filter(isGround)];
}

/** For a shell. */
const quoted = (text: string): string => (/^[\w.=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
