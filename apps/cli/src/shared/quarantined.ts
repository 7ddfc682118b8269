/** Pods in quarantine, from the lists of all nodes. */
import { decodeToken, openBucket } from '@bailiff/bus';
import { readBusTime } from '@bailiff/insight';
import type { ConfigKey } from '@bailiff/policy';
import { isIsolation, podName, reportedName } from '@bailiff/response';
import { type QuarantineEntry, type QuarantineReading, quarantineEndMs, readQuarantineList } from '@bailiff/schemas';
import type { Session } from './session.ts';

export const QUARANTINE_BUCKET = 'bailiff_quarantine';

export interface Quarantined extends QuarantineEntry {
  nodeName: string;
  /** Infinity for no end. */
  untilMs: number;
}

/**
 * Parses the list of a node like its collector: valid entries are returned beside problems with others. Pure.
 */
export function quarantinedOf(nodeName: string, json: string): { entries: Quarantined[]; problems: string[] } {
  let reading: QuarantineReading;
  try {
    reading = readQuarantineList(json);
  } catch (error) {
    return { entries: [], problems: [`cannot be parsed: ${(error as Error).message}`] };
  }
  const { entries, problems } = reading;
  if (reading.nodeName !== nodeName) return { entries: [], problems: [`names node ${reportedName(reading.nodeName)}`] };
  return { entries: entries.map((entry) => ({ ...entry, nodeName, untilMs: quarantineEndMs(entry) })), problems };
}

/** The entries of all nodes, including ended ones, and how many problems with lists there are, which are reported. */
export async function readQuarantined({ bus, out }: Session): Promise<{ all: Quarantined[]; problems: number }> {
  const entries = await openBucket(bus, QUARANTINE_BUCKET).entries();
  let problems = 0;
  const all = entries.flatMap(({ key, value }) => {
    const nodeName = decodeToken(key);
    const list = quarantinedOf(nodeName, value.toString('utf8'));
    for (const problem of list.problems) out.note(`quarantine list of node ${nodeName}: ${problem}`);
    problems += list.problems.length;
    return list.entries;
  });
  return { all, problems };
}

/** Pods of these scopes that have the NetworkPolicy of a quarantine. A removal has none. */
export async function readBlockedPods(session: Session, keys: readonly ConfigKey[]): Promise<string[]> {
  const [{ all }, nowMs] = await Promise.all([readQuarantined(session), readBusTime(session)]);
  const isWithin = ({ nodeName, podNamespace }: Quarantined) =>
    keys.some(({ scope, name, namespace }) =>
      scope === 'node' ? name === nodeName : scope === 'cluster' || namespace === podNamespace,
    );
  const blocked = all.filter((one) => one.untilMs > nowMs && !isIsolation(one) && isWithin(one));
  return [...new Set(blocked.map(nameOf))];
}

export const nameOf = (entry: QuarantineEntry): string =>
  reportedName(podName({ namespace: entry.podNamespace, name: entry.podName }));
