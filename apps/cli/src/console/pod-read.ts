/** The page Pod, and its file: what a visitor may see of the life of a pod. */

import type { FileView, MaySee, PodRequest, PodView } from '@bailiff/console';
import { isoMicros, type Reader, readTimeline, verdictsOfPod, violationsOfPod } from '@bailiff/insight';
import { parsePod } from '../shared/arguments.ts';
import { CliError } from '../shared/errors.ts';
import { timelineHtml } from '../shared/rows/timeline-html.ts';
import { podView } from './pod-view.ts';
import { notesFor, startOf } from './reading.ts';
import { namespaceOfVerdict } from './rows.ts';

type Own = Reader & { notes: string[] };

/** @throws CliError CLI_NOT_FOUND for a pod outside the scope: whether it exists is not said */
async function readLife(own: Own, { pod: text, namespace, since }: PodRequest, maySee: MaySee) {
  const parsed = parsePod(text, 'pod');
  const pod = { ...parsed, namespace: parsed.namespace ?? namespace };
  if (!maySee(pod.namespace)) {
    throw new CliError('CLI_NOT_FOUND', 'there is no such pod in a namespace that you may see', {
      remedy: 'write it as namespace/name',
    });
  }
  const sinceMs = await startOf(own, since);
  const [timeline, all] = await Promise.all([
    readTimeline(own, { pod, sinceMs, untilMs: Number.POSITIVE_INFINITY, verdict: null, maySee }),
    verdictsOfPod(own, pod, sinceMs),
  ]);
  const verdicts = all.filter(({ verdict }) => maySee(namespaceOfVerdict(verdict)));
  const places = new Set(verdicts.map(({ sequence }) => `VERDICTS #${sequence}`));
  const items = timeline.items.filter(({ lane, place }) => lane !== 'verdicts' || maySee(null) || places.has(place));
  return { pod, sinceMs, timeline: { ...timeline, items }, verdicts };
}

export async function readPod(own: Own, request: PodRequest, maySee: MaySee): Promise<PodView> {
  const { pod, sinceMs, timeline, verdicts } = await readLife(own, request, maySee);
  const seen = await violationsOfPod(own, pod, sinceMs);
  own.decoder.reportUndecodable(own);
  const { pod: text, since } = request;
  return podView({ pod: text, since, timeline, seen, verdicts, notes: notesFor(own, maySee), nowMs: own.nowMs() });
}

/** The life as one file for any browser: what `bailiff timeline --html` writes. */
export async function readPodFile(own: Own, request: PodRequest, maySee: MaySee): Promise<FileView> {
  const { timeline } = await readLife(own, request, maySee);
  own.decoder.reportUndecodable(own);
  const notes = [...timeline.notes, ...notesFor(own, maySee)];
  const made = `created ${isoMicros(own.nowMs() * 1000).slice(0, 19)} UTC`;
  return { name: `${fileName(request.pod)}.html`, file: timelineHtml({ ...timeline, notes }, made) };
}

const fileName = (text: string): string => text.replaceAll(/[^\w.-]+/g, '-').slice(0, 100);
