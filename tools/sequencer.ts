/**
 * Vitest sequencer: start order of files. It uses vitest's order (which knows no durations in a new
 * checkout) with two changes:
 * - Virtual machines start early: they occupy a worker for minutes.
 * - Files of a tier run together: a process continues with the next file of its tier if that tier
 *   shares one, and ends before another tier.
 */
import path from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Starts before all other files of its group. */
export const FIRST = 'test/vm/lsm.test.ts';
/**
 * Files with a machine of their own. They start one after the other among the files of AMONG, so
 * that a mostly waiting file runs beside a machine.
 */
export const SPREAD: readonly string[] = [
  'test/vm/kernel.test.ts',
  'test/vm/cost.test.ts',
  'test/vm/machine.test.ts',
  'test/e2e/demo.test.ts',
];
const AMONG = 'cluster';
/** Duration of the first file in units of these; they start at even distances behind it. */
const FIRST_TAKES = 3;
/**
 * Tiers in start order; unnamed ones come last. Short files are at the end, where two workers must
 * finish together.
 */
export const TIERS: readonly string[] = [
  ...['unit', AMONG, 'cluster-newest', 'vm', 'e2e', 'e2e-newest', 'chaos', 'chaos-newest'],
  ...['kernel', 'native', 'fuzz', 'sim', 'bus', 'bus-newest'],
];
/**
 * CPU-bound files with time limits. Each starts before the first file of a tier, so that none runs
 * beside another or beside a machine.
 */
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

/** The same specifications in start order; `placed` describes one. */
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
  // Number of hosts after which each of them starts.
  const before = named(FIRST).length * FIRST_TAKES;
  const behind = spread.map((_, index) => Math.floor((hosts.length * (index + before)) / (spread.length + before)));
  const begin = (hostsBefore: number) => spread.filter((_, index) => behind[index] === hostsBefore);
  let hostsBefore = 0;
  const all = [...named(FIRST), ...begin(0)];
  for (const spec of rest) {
    all.push(spec);
    if (placed(spec).project === AMONG) all.push(...begin(++hostsBefore));
  }
  // The sort is stable: the order within a group stays.
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
