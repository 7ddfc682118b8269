/**
 * Reads the count of pods that the plugin let start without a guard. The plugin writes one line
 * beside the socket: count, seconds since 1970, namespace/name, reason. The count restarts with the
 * node.
 */
import path from 'node:path';
import { readIfPresent } from './node-file.ts';

const FILE_NAME = 'cni-passed';

export interface Passed {
  count: number;
  /** When the last one started. */
  atMs: number;
  /** The last pod, `namespace/name`. */
  pod: string;
  reason: string;
}

/**
 * @returns null: no pod passed since the node started.
 * @throws Error if the file has another form
 */
export function readPassed(socket: string): Passed | null {
  const file = path.join(path.dirname(socket), FILE_NAME);
  const text = readIfPresent(file)?.content.toString('utf8') ?? '';
  // Just created, and not written yet. Behind the line may be the rest of a longer one.
  if (text === '') return null;
  const [, count, seconds, pod = '', reason = ''] = /^(\d+) (-?\d+) (\S*) ([^\n]*)/.exec(text) ?? [];
  if (count === undefined) throw new Error(`${file} has another form than the plugin writes`);
  return { count: Number(count), atMs: Number(seconds) * 1000, pod, reason };
}
