/**
 * `collector load-runtime --bpf-dir D`: loads the runtime programs for a collector. Prints the
 * result (`Loading`) as one line of JSON. If the kernel refuses them, the line contains the reason,
 * and the exit code is still 0.
 */
import { EXIT } from '@bailiff/service';
import { loadRuntime } from '../operations/kernel/loader.ts';
import { readFlags } from './command-line.ts';

export function loadCommand(argv: string[]): number {
  const read = readFlags(argv, {
    usage: 'collector load-runtime --bpf-dir DIR',
    about:
      'Attaches the runtime programs. The collector runs this command; do not run it yourself while a collector runs.',
    flags: { 'bpf-dir': { type: 'string' } },
  });
  if ('exit' in read) return read.exit as number;
  process.stdout.write(`${JSON.stringify(loadRuntime(read.values['bpf-dir'] ?? ''))}\n`);
  return EXIT.ok;
}
