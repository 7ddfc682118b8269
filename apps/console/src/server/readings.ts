/**
 * Pages that are read once. Bounds: MAX_READS readings at a time, shared by visitors, one reading at most
 * READ_MS; one export of evidence at a time, because it is in memory. A reading keeps its place until its response
 * is sent: until then it is in memory too.
 */
import { FairCounts } from '@bailiff/service/fair-counts';
import { timeLimit } from '@bailiff/service/retry';
import { type Door, type Guest, Refused } from '../access/door.ts';
import type { Changes, ConsoleData, EvidenceRequest } from '../data.ts';
import type { EvidenceView } from '../wire.ts';
import { sendJson } from './replies.ts';
import { goneWith, hasRoom, isStill, type ServerReports, sendFailure, tooMany, type Visit } from './visit.ts';

export const MAX_READS = 8;
const READ_MS = 120_000;
const NOT_CHECKED = 'your rights are not known';

export class Readings {
  readonly #door: Door;
  readonly #data: ConsoleData;
  readonly #changes: Changes;
  readonly #reports: ServerReports;
  /** By visitor. */
  readonly #reads = new FairCounts(MAX_READS);
  #isExporting = false;

  constructor(door: Door, data: ConsoleData, changes: Changes, reports: ServerReports) {
    this.#door = door;
    this.#data = data;
    this.#changes = changes;
    this.#reports = reports;
  }

  async read(path: string, visit: Visit): Promise<void> {
    const { response, guest } = visit;
    const reader = this.#readerOf(path, visit);
    if (!reader) return sendJson(response, 404, { error: 'not found', remedy: '' });
    if (!hasRoom(this.#reads, guest)) return tooMany(visit, this.#reports, 'readings run');
    this.#reads.add(guest.name);
    visit.keep();
    const gone = goneWith(response);
    try {
      using limit = timeLimit(READ_MS, gone);
      const view = await reader(limit.signal);
      if (gone.aborted) return;
      // A reading takes up to two minutes.
      if (await isStill(this.#door, visit)) sendJson(response, 200, view);
      else sendJson(response, 403, { error: 'your rights changed meanwhile', remedy: 'read again' });
    } catch (error) {
      if (gone.aborted) return;
      sendFailure(visit, error, this.#data, this.#reports);
    } finally {
      const leave = () => this.#reads.remove(guest.name);
      if (gone.aborted) leave();
      else gone.addEventListener('abort', leave, { once: true });
    }
  }

  #readerOf(path: string, { query, guest }: Visit) {
    const { maySee } = guest.scope;
    const data = this.#data;
    const text = (name: string) => query.get(name) ?? '';
    const since = (usual: string) => text('since') || usual;
    const pod = () => ({ pod: text('pod'), namespace: text('namespace') || null, since: since('1d') });
    const by = guest.name;
    const readers: Readonly<Record<string, (signal: AbortSignal) => Promise<unknown>>> = {
      '/api/verdict': (signal) => data.verdict(text('id'), maySee, signal),
      '/api/evidence': (signal) => this.#export({ id: text('id'), isRedacted: text('redact') !== '', by }, signal),
      '/api/pod': (signal) => data.pod(pod(), maySee, signal),
      '/api/pod-file': (signal) => data.podFile(pod(), maySee, signal),
      '/api/graph': (signal) => data.graph(since('1h'), maySee, signal),
      '/api/policies': async (signal) => {
        const view = await data.policies(since('1d'), maySee, signal);
        return { ...view, promotions: await this.#withRights(view.promotions, guest, signal) };
      },
      '/api/rules': async (signal) => {
        const { rules, policies } = await data.rules(signal);
        return { policies, rules: await this.#withRights(rules, guest, signal) };
      },
      '/api/policy': (signal) => data.policyText(text('key'), signal),
      '/api/proposal': (signal) =>
        this.#changes.propose({ key: text('key'), assignments: query.getAll('set') }, guest, signal),
      '/api/history': (signal) => data.history({ key: text('key') || null, since: since('30d') }, maySee, signal),
    };
    return Object.hasOwn(readers, path) ? readers[path] : undefined;
  }

  async #export(request: EvidenceRequest, signal: AbortSignal): Promise<EvidenceView> {
    if (this.#isExporting) throw new Refused(503, 'an export of evidence runs already', 'try again in a moment');
    this.#isExporting = true;
    try {
      return await this.#data.evidence(request, signal);
    } finally {
      this.#isExporting = false;
    }
  }

  /** Which of these values the visitor may change here. */
  async #withRights<T extends { key: string; whyNot: string }>(items: readonly T[], guest: Guest, signal: AbortSignal) {
    const keys = items.map(({ key }) => key);
    const whyNot = keys.length === 0 ? null : await this.#changes.whyNot(keys, guest, signal);
    return items.map((item) => ({ ...item, whyNot: whyNot?.get(item.key) ?? NOT_CHECKED }));
  }
}
