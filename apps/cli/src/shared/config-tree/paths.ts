/**
 * Maps configuration keys to file paths and back. Pure.
 *
 *     spoof/cluster.yaml                     spoof.cluster._.default
 *     spoof/namespaces/<namespace>.yaml      spoof.namespace.<namespace>.default
 *     spoof/workloads/<namespace>/<owner>.yaml
 *     correlation/<rule>.yaml                response/<policy>.yaml
 *     runtime/<policy>.yaml                  runtime/<namespace>/<policy>.yaml
 *
 * Disarms have no file: they last minutes, and a later import must not disarm again.
 */
import { type ConfigKey, formatConfigKey, requireReadKey } from '@bailiff/policy';

export const ENDING = '.yaml';
/** Accepted file endings; export writes the first. */
const ENDINGS = [ENDING, '.yml', '.json'];
export const LAYOUT =
  'spoof/cluster.yaml, spoof/namespaces/<namespace>.yaml, spoof/workloads/<namespace>/<owner>.yaml, correlation/<rule>.yaml, ' +
  'response/<policy>.yaml, runtime/<policy>.yaml, runtime/<namespace>/<policy>.yaml';

/** The path of a key, relative and with `/`; null if it has no file. */
export function pathOfKey({ kind, scope, namespace, name }: ConfigKey): string | null {
  if (kind === 'disarm') return null;
  if (kind !== 'spoof') return `${[kind, ...(namespace === null ? [] : [namespace]), name].join('/')}${ENDING}`;
  if (scope === 'cluster') return `spoof/cluster${ENDING}`;
  return scope === 'namespace'
    ? `spoof/namespaces/${namespace}${ENDING}`
    : `spoof/workloads/${namespace}/${name}${ENDING}`;
}

/** Whether import reads a file: by its ending. It refuses one whose path names no key. */
export const isValueFile = (path: string): boolean => ENDINGS.some((ending) => path.endsWith(ending));

/**
 * The key of a path; null if the path names none. @throws ConfigError CONFIG_KEY for an invalid
 * name
 */
export function keyOfPath(path: string): ConfigKey | null {
  const ending = ENDINGS.find((one) => path.endsWith(one));
  if (ending === undefined) return null;
  const key = keyOfParts(path.slice(0, -ending.length).split('/'));
  if (!key) return null;
  formatConfigKey(key);
  requireReadKey(key);
  return key;
}

function keyOfParts([kind, first, second, third, ...rest]: string[]): ConfigKey | null {
  if (first === undefined || rest.length > 0) return null;
  const cluster = (name: string) => ({ scope: 'cluster', namespace: null, name }) as const;
  if (kind === 'spoof') {
    if (second === undefined) return first === 'cluster' ? { kind, ...cluster('default') } : null;
    if (first === 'namespaces' && third === undefined)
      return { kind, scope: 'namespace', namespace: second, name: 'default' };
    return first === 'workloads' && third !== undefined
      ? { kind, scope: 'workload', namespace: second, name: third }
      : null;
  }
  if (third !== undefined) return null;
  if (kind === 'runtime' && second !== undefined) return { kind, scope: 'namespace', namespace: first, name: second };
  const isFlat = kind === 'correlation' || kind === 'response' || kind === 'runtime';
  return isFlat && second === undefined ? { kind, ...cluster(first) } : null;
}
