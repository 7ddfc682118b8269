/**
 * The walks of ARCHITECTURE.md against the imports. A walk is a table of files below a heading
 * `### Walk N: …`. A row that begins with `↓` names the wire between its neighbours: a file that
 * both import, or a word that both contain.
 */
import path from 'node:path';

/** Reads a file of the workspace; null: it does not exist. */
export type Read = (file: string) => string | null;

export interface Step {
  file: string;
  /** Wire to the file before; null: connected by imports. */
  wire: string | null;
}

export interface Walk {
  title: string;
  steps: readonly Step[];
}

const ROW = /^\| (↓ )?`([^`]+)`/;

export function walksOf(page: string): Walk[] {
  const [, ...sections] = page.split(/^### (?=Walk \d)/m);
  return sections.map((section) => {
    const [title = '', ...lines] = section.split(/^#/m)[0]?.split('\n') ?? [];
    const steps: Step[] = [];
    let wire: string | null = null;
    for (const line of lines) {
      const [, arrow, name] = ROW.exec(line) ?? [];
      if (name === undefined) continue;
      if (arrow === undefined) steps.push({ file: name, wire });
      wire = arrow === undefined ? null : name;
    }
    return { title, steps };
  });
}

/** Files that a page names in code with their whole path. */
export function filesNamedIn(page: string): string[] {
  const named = [...page.matchAll(/`((?:apps|libs|tools|test|k8s|policies)\/[\w./-]+\.(?:ts|c|h|cc|md))`/g)];
  return [...new Set(named.map(([, file = '']) => file))];
}

const EXPORT = /^export (?:declare |abstract |async )*(?:function|const|let|class|interface|type|enum) (\w+)/gm;
const RE_EXPORT = /^export (?:type )?(\*|\{[^}]*\}) from '\.\/([^']+)'/gm;
const namesIn = (list: string): [own: string, exported: string][] =>
  [...list.matchAll(/(?:type )?(\w+)(?: as (\w+))?/g)].map(([, own = '', as]) => [own, as ?? own]);

/** File by exported name of a library's index. */
function exportsOf(library: string, read: Read): ReadonlyMap<string, string> {
  const source = `libs/${library}/src`;
  const files = new Map<string, string>();
  for (const [, what = '', target = ''] of (read(`${source}/index.ts`) ?? '').matchAll(RE_EXPORT)) {
    const file = `${source}/${target}`;
    if (what !== '*') for (const [, name] of namesIn(what)) files.set(name, file);
    else for (const [, name = ''] of (read(file) ?? '').matchAll(EXPORT)) files.set(name, file);
  }
  return files;
}

/** Files that a source file imports or includes. A `.cc` file and its header count as one. */
export function importsOf(file: string, read: Read): Set<string> {
  const text = read(file) ?? '';
  const folder = path.posix.dirname(file);
  const targets = new Set<string>();
  for (const [, name = ''] of text.matchAll(/(?:from|import\() ?'(\.[^']+)'/g))
    targets.add(path.posix.join(folder, name));
  for (const [, names = '', library = ''] of text.matchAll(
    /import (?:type )?\{([^}]*)\} from '@bailiff\/([a-z-]+)'/g,
  )) {
    const exported = exportsOf(library, read);
    for (const [name] of namesIn(names)) targets.add(exported.get(name) ?? `@bailiff/${library}#${name}`);
  }
  for (const header of includesOf(file, read)) targets.add(header).add(header.replace(/\.h$/, '.cc'));
  return targets;
}

function includesOf(file: string, read: Read): string[] {
  const units = file.endsWith('.cc') ? [file, file.replace(/\.cc$/, '.h')] : [file];
  const roots = [path.posix.dirname(file), 'libs/bpf/bpf', 'libs/bpf/native'];
  return units.flatMap((unit) =>
    [...(read(unit) ?? '').matchAll(/^#include "([^"]+)"/gm)].flatMap(([, name = '']) => {
      const candidates = roots.map((root) => path.posix.join(root, name));
      return candidates.find((candidate) => read(candidate) !== null) ?? [];
    }),
  );
}

/** Steps that nothing connects with the step before. */
export function gapsOf({ title, steps }: Walk, read: Read): string[] {
  const imports = new Map(steps.map(({ file }) => [file, importsOf(file, read)]));
  const isConnected = (one: string, other: string) =>
    imports.get(one)?.has(other) === true || imports.get(other)?.has(one) === true;
  return steps.flatMap(({ file, wire }, at) => {
    const before = steps[at - 1]?.file;
    if (before === undefined) return [];
    const hub = steps.slice(0, at - 1).some((one) => isConnected(one.file, before) && isConnected(one.file, file));
    const isJoined =
      wire === null
        ? isConnected(before, file) || hub
        : [before, file].every((end) => imports.get(end)?.has(wire) || (read(end) ?? '').includes(wire));
    return isJoined ? [] : [`${title}: ${before} and ${file}${wire === null ? '' : ` by ${wire}`}`];
  });
}
