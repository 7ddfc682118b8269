/**
 * Empty programs at every runtime hook: the kernel's own cost of calling a program.
 *
 * The source is generated from the sections of the real programs and compiled once on the host (compile.ts).
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type BpfLink, BpfObject } from '@bailiff/bpf';
import { compileBpf } from '../../vm/compile.ts';

const RUNTIME = path.join(import.meta.dirname, '../../../libs/bpf/bpf/runtime');
const SOURCE = path.join(import.meta.dirname, 'build/empty-hooks.bpf.c');

function sections(): string[] {
  return readdirSync(RUNTIME)
    .sort()
    .flatMap((file) => [
      ...readFileSync(path.join(RUNTIME, file), 'utf8').matchAll(/^SEC\("((?:lsm|tp_btf)\/\w+)"\)/gm),
    ])
    .map(([, section]) => section as string);
}

const hookOf = (section: string): string => section.slice(section.indexOf('/') + 1);

/** @returns path of the object file */
export function compileEmptyHooks(): string {
  const programs = sections().map(
    (section) => `SEC("${section}")\nint handle_${hookOf(section)}(void *context)\n{\n\treturn 0;\n}\n`,
  );
  const head = '#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n';
  mkdirSync(path.dirname(SOURCE), { recursive: true });
  writeFileSync(SOURCE, [head, ...programs, 'char LICENSE[] SEC("license") = "GPL";\n'].join('\n'));
  return compileBpf(SOURCE);
}

export interface EmptyHooks extends Disposable {
  readonly hooks: readonly { readonly name: string; readonly programId: number }[];
}

/** Attaches them until disposal. Errors: BpfError. */
export function attachEmptyHooks(): EmptyHooks {
  using object = BpfObject.open(compileEmptyHooks());
  object.load();
  const links: BpfLink[] = [];
  const hooks = sections().map((section) => {
    using program = object.program(`handle_${hookOf(section)}`);
    links.push(program.attach());
    return { name: hookOf(section), programId: program.info.id };
  });
  return {
    hooks,
    [Symbol.dispose]: () => {
      for (const link of links) link.close();
    },
  };
}
