/**
 * Whether every reader refuses the newest value of a key, such as an unsigned one where signatures are
 * required: the bus has it, and it is not in force. Pure.
 */
import { parseConfigKey } from '@bailiff/policy';
import type { ClusterFacts, StoredConfig } from './facts.ts';
import { activeInstances } from './instances.ts';

type Readers = Pick<ClusterFacts, 'nodes' | 'instances' | 'nowMs' | 'staleMs'>;

/** Services that read a kind; nodes read the others. */
const SERVICES: Readonly<Record<string, string>> = { correlation: 'correlator', response: 'responder' };

/**
 * The reason of a reader; empty if a reader accepts the value, may not have read it yet, or cannot be
 * read, and without readers.
 */
export function refusalOfReaders({ key, storedMs }: Pick<StoredConfig, 'key' | 'storedMs'>, readers: Readers): string {
  const { kind, scope, name } = parseConfigKey(key);
  const { nodes, instances, nowMs, staleMs } = readers;
  const service = SERVICES[kind];
  const reading = [...nodes].filter(([node]) => scope !== 'node' || node === name).map(([, status]) => status);
  const fresh = reading.filter((one) => typeof one === 'string' || nowMs - Date.parse(one.updatedAt) < staleMs);
  const all =
    service === undefined ? fresh : activeInstances(instances, nowMs).filter((one) => one.service === service);
  const reasons = all.map((status) =>
    typeof status === 'string' || Date.parse(status.updatedAt) <= storedMs
      ? ''
      : (status.configRefused.find((one) => one.key === key)?.reason ?? ''),
  );
  return reasons.every((reason) => reason !== '') ? (reasons[0] ?? '') : '';
}
