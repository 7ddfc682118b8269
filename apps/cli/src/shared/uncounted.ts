/** Vectors that were off: such packets passed uncounted, so violations say nothing of what enforcing would drop. */
import { BusError, CONFIG_BUCKET, readNewest } from '@bailiff/bus';
import type { Reader } from '@bailiff/insight';
import { configRefusal, parseConfigKey, type SpoofCluster } from '@bailiff/policy';
import { scopeName, shortList } from '@bailiff/response';
import { type Revision, revisionIn } from './config/history.ts';

const SUBJECTS = `$KV.${CONFIG_BUCKET}.`;
/** Named in one sentence. */
const MAX_VECTORS = 3;
/** Scopes that are named. */
const MAX_SCOPES = 4;

function offIn(key: string, { text, value }: Revision): string[] {
  if (text === '' || configRefusal(key, text) !== '') return [];
  const { modes = {}, unknown } = value as Partial<SpoofCluster>;
  const vectors = Object.entries(modes).flatMap(([vector, mode]) => (mode === 'off' ? [vector] : []));
  return unknown === 'off' ? [...vectors, 'unknown-interface'] : vectors;
}

/** One sentence for each scope in which vectors were off at some time since then, also if they no longer are. */
export async function uncountedReasons({ bus, signal }: Reader, sinceMs: number): Promise<string[]> {
  const off = new Map<string, Set<string>>();
  try {
    // From the beginning: a value holds until the next one.
    await readNewest(bus, `KV_${CONFIG_BUCKET}`, {
      sinceMs: 0,
      filterSubjects: [`${SUBJECTS}spoof.>`],
      onMessage: (message) => {
        const key = message.subject.slice(SUBJECTS.length);
        const before = message.timestampMicros / 1000 > sinceMs ? (off.get(key) ?? []) : [];
        off.set(key, new Set([...before, ...offIn(key, revisionIn(message))]));
      },
      signal,
    });
  } catch (error) {
    if (!(error instanceof BusError)) throw error;
    return [`it is not known which vectors were off: ${error.message}`];
  }
  const scopes = [...off].filter(([, vectors]) => vectors.size > 0);
  const reasons = scopes.slice(0, MAX_SCOPES).map(([text, vectors]) => {
    const { namespace, scope, name } = parseConfigKey(text);
    const place = scopeName({ namespace, workload: scope === 'workload' ? name : null });
    const were = vectors.size === 1 ? 'was' : 'were';
    return `${place}: ${shortList([...vectors], MAX_VECTORS)} ${were} off within this time: such packets passed uncounted; audit before you enforce`;
  });
  const left = scopes.length - reasons.length;
  return left > 0 ? [...reasons, `vectors were off in further scopes: ${left}`] : reasons;
}
