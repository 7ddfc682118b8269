/**
 * Parses the project's Containerfile: stages and their instructions, with continuation lines
 * joined. No heredocs.
 */

export interface Instruction {
  word: string;
  /** The rest of the line, continuation lines joined. */
  text: string;
}

export interface Stage {
  name: string;
  /** Name of another stage, `scratch` or an image reference. Arguments have their default values. */
  base: string;
  instructions: Instruction[];
}

export interface Containerfile {
  /** Values of ARG before the first stage. */
  args: Readonly<Record<string, string>>;
  stages: Stage[];
}

const KNOWN = ['COPY', 'RUN', 'USER', 'ENV', 'LABEL', 'WORKDIR', 'ENTRYPOINT'];

/** @throws Error for unsupported syntax */
export function parseContainerfile(text: string): Containerfile {
  const lines = text
    .split('\n')
    .filter((line) => !line.startsWith('#') && line.trim() !== '')
    .join('\n')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n');
  const args: Record<string, string> = {};
  const stages: Stage[] = [];
  for (const line of lines) {
    const [, word = '', rest = ''] = /^([A-Z]+) (.+)$/.exec(line) ?? [];
    const stage = stages.at(-1);
    if (word === 'ARG' && !stage) {
      const at = rest.indexOf('=');
      args[rest.slice(0, at)] = rest.slice(at + 1);
    } else if (word === 'FROM') {
      const [, base, name] = /^(\S+) AS ([a-z][a-z0-9-]*)$/.exec(rest) ?? [];
      if (base === undefined || name === undefined) throw new Error(`a stage without a name: ${line}`);
      const resolved = base.replaceAll(/\$\{(\w+)\}/g, (_, argument: string) => args[argument] ?? '');
      stages.push({ name, base: resolved, instructions: [] });
    } else if (stage && KNOWN.includes(word)) stage.instructions.push({ word, text: rest });
    else throw new Error(`not understood: ${line}`);
  }
  return { args, stages };
}

/** Instructions of a stage, preceded by those of its base stages down to an image. */
export function lineage({ stages }: Containerfile, name: string): Instruction[] {
  const stage = stages.find((one) => one.name === name);
  if (!stage) throw new Error(`no stage ${name}`);
  const under = stages.some((one) => one.name === stage.base) ? lineage({ args: {}, stages }, stage.base) : [];
  return [...under, ...stage.instructions];
}

export const last = (instructions: readonly Instruction[], word: string): string | undefined =>
  instructions.filter((one) => one.word === word).at(-1)?.text;

/** `--from` and paths of a COPY; the last path is the destination. */
export function copyOf({ text }: Instruction): { from: string | null; sources: string[]; to: string } {
  const words = text.split(' ');
  const from = words[0]?.startsWith('--from=') ? (words.shift() as string).slice('--from='.length) : null;
  const to = words.pop() as string;
  return { from, sources: words, to };
}
