/**
 * `collector load-runtime --bpf-dir D`: loads the runtime programs for a collector. It prints one
 * line of JSON, a Loading. It exits with 0 also if the kernel refuses; the line has the reason.
 */
import { EXIT } from '@bailiff/service';
import { loadRuntime } from '../runtime/kernel/loader.ts';
import { readFlags } from './command-line.ts';

export function loadCommand(argv: string[]): number {
  const read = readFlags(argv, {
    usage: 'collector load-runtime --bpf-dir DIR',
    about: 'Attaches the runtime programs. A collector runs it; do not run it beside one.',
    flags: { 'bpf-dir': { type: 'string' } },
  });
  if ('exit' in read) return read.exit as number;
  process.stdout.write(`${JSON.stringify(loadRuntime(read.values['bpf-dir'] ?? ''))}\n`);
  return EXIT.ok;
}
