/** The one pod or verdict that an argument selects. */
import {
  matchesPod,
  type PlacedPod,
  type PodSelector,
  type Reader,
  type VerdictRow,
  verdictsById,
} from '@bailiff/insight';
import { podName } from '@bailiff/response';
import { CliError } from './errors.ts';

/** Pure. @throws CliError CLI_NOT_FOUND | CLI_USAGE */
export function onePod(pods: readonly PlacedPod[], selector: PodSelector): PlacedPod {
  const [first, ...more] = pods.filter((pod) => matchesPod(selector, pod));
  if (!first) {
    throw new CliError('CLI_NOT_FOUND', `no pod "${selector.text}" exists`, {
      remedy:
        'check the name; `bailiff timeline` shows deleted pods. While ipam-sync runs, a new pod appears within a second after it is bound to a node',
    });
  }
  if (more.length === 0) return first;
  const names = [first, ...more].map((pod) => `${podName(pod)} on ${pod.nodeName}, uid ${pod.uid}`);
  throw new CliError('CLI_USAGE', `"${selector.text}" selects ${names.length} pods`, {
    remedy: `use namespace/name or a uid:\n${names.slice(0, 8).join('\n')}`,
  });
}

/** Whether an argument is a verdict id rather than a pod. */
export const isVerdictId = (text: string) => /^[0-9a-f]{8,32}$/.test(text);

/** The one verdict with this id prefix. @param maySee others do not exist for the reader @throws CliError CLI_NOT_FOUND | CLI_USAGE */
export async function verdictById(
  reader: Reader,
  prefix: string,
  maySee: (row: VerdictRow) => boolean = () => true,
): Promise<VerdictRow> {
  const { count, newest } = await verdictsById(reader, prefix, maySee);
  if (count === 1) return newest[0] as VerdictRow;
  if (count === 0) {
    throw new CliError('CLI_NOT_FOUND', `no verdict id starts with "${prefix}"`, {
      remedy: '`bailiff verdicts --since all` lists the ids; select a pod as namespace/name',
    });
  }
  throw new CliError('CLI_USAGE', `"${prefix}" is a prefix of ${count} verdict ids`, {
    remedy: `use more characters of one id:\n${newest
      .map(({ verdict }) => `${verdict.verdictId}  ${verdict.rule}`)
      .join('\n')}`,
  });
}
