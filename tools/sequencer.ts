/**
 * Vitest sequencer: in which order files begin. Vitest's own, which in a new checkout knows nothing of how long a file takes, but
 * - the virtual machines earlier: they hold a worker for minutes, and what begins last ends last, alone;
 * - a tier's files together: a process goes on with the next file of its tier where that shares one, and ends before one of another.
 */
import path from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Begins before everything of its group. */
export const FIRST = 'test/vm/lsm.test.ts';
/** Have a machine too. They begin one after the other among the files of AMONG, so that beside a machine there is a file that mostly waits. */
export const SPREAD: readonly string[] = [
  'test/vm/kernel.test.ts',
  'test/vm/cost.test.ts',
  'test/vm/machine.test.ts',
  'test/e2e/demo.test.ts',
];
const AMONG = 'cluster';
/** How many of them the first takes as long as: they come at even distances behind it. */
const FIRST_TAKES = 3;
/** Tiers as they begin; one that is not named comes last. The short files are at the end, where two workers must come to it together. */
export const TIERS: readonly string[] = [
  ...['unit', AMONG, 'cluster-newest', 'vm', 'e2e', 'e2e-newest', 'chaos', 'chaos-newest'],
  ...['kernel', 'native', 'fuzz', 'sim', 'bus', 'bus-newest'],
];
/** Keep a processor busy and have time limits: each begins before the first file of a tier, so that none runs beside the other or a machine. */
export const APART: Readonly<Record<string, string>> = {
  'test/chaos/responder.test.ts': 'kernel',
  'test/chaos/collector-kill.test.ts': 'native',
};

export interface Placed {
  /** Relative to the workspace. */
  readonly file: string;
  readonly project: string;
  /** Groups run one after the other. */
  readonly group: number;
}

/** The same specifications, in the order in which they begin; `placed` tells of one what it is. */
export function inOrder<Spec>(specs: readonly Spec[], placed: (spec: Spec) => Placed): Spec[] {
  const named = (file: string) => specs.filter((spec) => placed(spec).file === file);
  const spread = SPREAD.flatMap(named);
  const tier = (spec: Spec) => {
    const { file, project } = placed(spec);
    const before = APART[file];
    if (before !== undefined) return TIERS.indexOf(before) - 0.5;
    return TIERS.includes(project) ? TIERS.indexOf(project) : TIERS.length;
  };
  const rest = specs
    .filter((spec) => placed(spec).file !== FIRST && !SPREAD.includes(placed(spec).file))
    .sort((a, b) => tier(a) - tier(b));
  const hosts = rest.filter((spec) => placed(spec).project === AMONG);
  // Behind how many of the hosts each of them begins.
  const before = named(FIRST).length * FIRST_TAKES;
  const behind = spread.map((_, index) => Math.floor((hosts.length * (index + before)) / (spread.length + before)));
  const begin = (hostsBefore: number) => spread.filter((_, index) => behind[index] === hostsBefore);
  let hostsBefore = 0;
  const all = [...named(FIRST), ...begin(0)];
  for (const spec of rest) {
    all.push(spec);
    if (placed(spec).project === AMONG) all.push(...begin(++hostsBefore));
  }
  // The sort is stable: within a group, all stays as it is here.
  return all.sort((a, b) => placed(a).group - placed(b).group);
}

export default class Sequencer extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return inOrder(await super.sort(files), ({ moduleId, project }) => ({
      file: path.relative(this.ctx.config.root, moduleId),
      project: project.name,
      group: project.config.sequence.groupOrder,
    }));
  }
}
