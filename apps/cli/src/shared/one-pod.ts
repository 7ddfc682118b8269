/** The one pod that an argument names. */
import { matchesPod, type PlacedPod, type PodSelector } from '@bailiff/insight';
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
