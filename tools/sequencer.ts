/**
 * Vitest sequencer: in which order files begin. Vitest's own, which in a new checkout knows nothing of how long a file takes, but the virtual
 * machines earlier: they hold a worker for minutes, and what begins last ends last, alone.
 */
import path from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Begins before everything of its group. */
export const FIRST = 'test/vm/lsm.test.ts';
/** Begin one after the other, at even distances among the files of AMONG, so that beside a machine there is a file that mostly waits. */
export const SPREAD: readonly string[] = ['test/vm/kernel.test.ts', 'test/vm/cost.test.ts', 'test/vm/machine.test.ts'];
const AMONG = 'cluster';

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
  const rest = specs.filter((spec) => placed(spec).file !== FIRST && !SPREAD.includes(placed(spec).file));
  const hosts = rest.filter((spec) => placed(spec).project === AMONG);
  // Behind how many of the hosts each of them begins.
  const behind = spread.map((_, index) => Math.floor((hosts.length * (index + 1)) / (spread.length + 1)));
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
