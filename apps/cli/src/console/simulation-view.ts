/**
 * What a runtime policy would have denied, and which one allows what a pod did: the readings of `bailiff policy
 * simulate` and `bailiff policy learn --since`, as views of the console.
 */
import type { LearnRequest, PolicyTextView, SectionView, SimulationRequest, TrialView } from '@bailiff/console';
import type { Reader } from '@bailiff/insight';
import { plural, podName } from '@bailiff/response';
import { loadPolicyFile, PolicyError, yamlShape } from '@bailiff/runtime';
import { proposeRecorded } from '../policies/learn/learn.ts';
import type { Row } from '../policies/simulate/judge.ts';
import {
  SIMULATION_COLUMNS,
  simulationCells,
  simulationHeadline,
  simulationNotes,
  split,
  undecidedText,
} from '../policies/simulate/render.ts';
import { readSimulation } from '../policies/simulate/simulate.ts';
import { parsePod } from '../shared/arguments.ts';
import { CliError } from '../shared/errors.ts';
import type { FilePolicy } from '../shared/policy/files.ts';
import { parsePolicyName, shortName } from '../shared/policy/names.ts';
import { readPolicies } from '../shared/policy/stored.ts';
import { documentText, objectOf, withoutDefaults } from '../shared/text/yaml.ts';
import { trialStart } from './reading.ts';
import { rowOf, tableOf } from './tables.ts';

type Own = Reader & { notes: string[] };

const MAX_ROWS = 100;
/** Omitted operations that are named. */
const MAX_LEFT = 40;
const FILE = 'policy.yaml';
/** A text is parsed in one turn of the event loop, while other visitors wait: a quarter of a second at most. */
const MAX_TEXT = 131_072;
const MAX_KEYS = 4_096;
/** Each pod and container has a set of those that select it. */
const MAX_POLICIES = 16;
/** Lines of an error. */
const MAX_ERRORS = 20;

/** As `bailiff policy show` prints it. @throws CliError CLI_NOT_FOUND */
export async function readPolicyText(reader: Own, text: string): Promise<PolicyTextView> {
  const key = parsePolicyName(text);
  const found = (await readPolicies(reader)).find(
    ({ name, namespace }) => name === key.name && namespace === key.namespace,
  );
  if (!found?.policy) throw new CliError('CLI_NOT_FOUND', `no policy "${shortName(key)}" is in force`);
  return { yaml: documentText(objectOf(found, withoutDefaults(found.policy))) };
}

function sectionOf(title: string, rows: readonly Row[], nowMs: number, lines: string[] = []): SectionView[] {
  if (rows.length === 0) return [];
  const cells = rows.map((row, index) => rowOf(SIMULATION_COLUMNS, String(index), simulationCells(row, nowMs)));
  return [{ title: `${title} (${rows.length})`, lines, table: tableOf(SIMULATION_COLUMNS, cells, MAX_ROWS) }];
}

/** @throws CliError CLI_CONFIG */
function policiesIn(text: string): FilePolicy[] {
  const refuse = (what: string) => {
    throw new CliError('CLI_CONFIG', `the file has more than ${what}`, {
      remedy: '`bailiff policy simulate` takes any file',
    });
  };
  if (text.length > MAX_TEXT) refuse(`${MAX_TEXT} characters`);
  if (yamlShape(text).keys > MAX_KEYS) refuse(`${MAX_KEYS} fields`);
  try {
    const policies = loadPolicyFile(text, FILE).map((one) => ({ ...one, file: FILE }));
    if (policies.length > MAX_POLICIES) refuse(`${MAX_POLICIES} policies`);
    return policies;
  } catch (cause) {
    if (!(cause instanceof PolicyError)) throw cause;
    const lines = cause.message.split('\n');
    const more = lines.length > MAX_ERRORS ? [`and ${lines.length - MAX_ERRORS} more`] : [];
    throw new CliError('CLI_CONFIG', [...lines.slice(0, MAX_ERRORS), ...more].join('\n'), { cause });
  }
}

/** @throws CliError CLI_CONFIG for a policy that cannot be; PolicyError; BusError; the signal's reason */
export async function simulatePolicies(
  reader: Own,
  { policy: text, since, onProgress }: SimulationRequest,
): Promise<TrialView> {
  const files = policiesIn(text);
  const sinceMs = await trialStart(reader, since);
  const found = await readSimulation(reader, files, { since, sinceMs, pod: null, alone: false, onProgress });
  const { denied, undecided } = split(found.rows);
  const nowMs = reader.nowMs();
  return {
    headline: simulationHeadline(found),
    isSame: denied.length === 0 && undecided.length === 0,
    sections: [
      ...sectionOf('Would be denied', denied, nowMs),
      ...sectionOf('Cannot be decided', undecided, nowMs, [`${undecidedText(undecided)}.`]),
      { title: 'What is recorded, and what is not', lines: simulationNotes(found, nowMs), table: null },
    ],
    apply: `bailiff policy apply ${FILE} --mode enforce --reason "…"`,
    command: `bailiff policy simulate ${FILE} --since ${since}`,
    fileName: FILE,
    yaml: text,
    notes: [...reader.notes],
  };
}

/** @throws CliError CLI_NOT_FOUND | CLI_STATE | CLI_USAGE; BusError; the signal's reason */
export async function learnPolicy(reader: Own, { pod: text, since, onProgress }: LearnRequest): Promise<TrialView> {
  const selector = parsePod(text, 'pod');
  const sinceMs = await trialStart(reader, since);
  const found = await proposeRecorded(reader, { pod: selector, since, sinceMs, onProgress });
  reader.decoder.reportUndecodable(reader);
  const { proposal, seen, problems } = found;
  const name = podName(found.pod);
  const fileName = `${proposal.name}.yaml`;
  const left = proposal.left.slice(0, MAX_LEFT);
  const more = proposal.left.length - left.length;
  return {
    headline: `${name}: ${found.summary}`,
    isSame: problems.length === 0,
    sections: [
      {
        title: 'What it is made from',
        lines: [
          `${plural(seen.violations, 'violation')} on ${found.pod.nodeName} since ${since}.`,
          ...(seen.unsampled > 0
            ? [
                `${plural(seen.unsampled, 'operation')} were counted without a sample, ${seen.unsampledNow} of them after the last learned one: rare operations may be missing.`,
              ]
            : []),
          'Operations that were not recorded are denied once the policy is enforced: apply it in audit first, and simulate it again.',
          ...problems.map((problem) => `Without changes, the policy would be refused: ${problem}`),
          ...left.map((one) => `Omitted: ${one}`),
          ...(more > 0 ? [`… and ${more} more omitted`] : []),
        ],
        table: null,
      },
    ],
    apply: `bailiff policy apply ${fileName} --reason "…"`,
    command: `bailiff policy learn --pod ${name} --since ${since}`,
    fileName,
    yaml: found.text,
    notes: [...reader.notes],
  };
}
