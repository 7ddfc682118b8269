/**
 * Vitest sequencer: the order in which test files begin. Vitest's own order knows nothing of a
 * file's duration in a new checkout.
 *
 * - Virtual machines begin early, because each holds a worker for minutes.
 * - The files of a tier begin together, because a worker keeps its process for them.
 * - Tiers that compute begin after those that mostly wait. Long files begin before short ones, as in
 *   `kernel`, so that the workers of a group end together.
 * - Files that keep a processor busy and have time limits are last, so that the demo's machine has
 *   probably ended: responder and collector-kill of `chaos`.
 */
import path from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * Tiers and single files in the order in which they begin. A file that is not named begins with its
 * tier; a tier that is not named comes last.
 */
export const ORDER: readonly string[] = [
  'unit',
  // First group.
  ...['test/vm/lsm.test.ts', 'test/vm/machine.test.ts', 'cluster'],
  ...['test/vm/kernel.test.ts', 'cluster-newest', 'vm'],
  ...['test/bus/rights.test.ts', 'bus', 'bus-newest', 'native', 'fuzz', 'sim'],
  ...['test/kernel/layouts.test.ts', 'kernel'],
  // Second group.
  ...['test/e2e/demo.test.ts', 'test/e2e/lab.test.ts', 'test/e2e/tutorial.test.ts', 'e2e', 'e2e-newest'],
  ...['chaos', 'chaos-newest', 'cri'],
  ...['test/chaos/responder.test.ts', 'test/chaos/collector-kill.test.ts'],
];

export interface Placed {
  /** Relative to the workspace. */
  readonly file: string;
  readonly project: string;
  /** Groups run one after the other. */
  readonly group: number;
}

/** Place in ORDER: that of the file, else that of its tier. A repeat on another server keeps to its own tier. */
function placeOf({ file, project }: Placed): number {
  const named = file.startsWith(`test/${project}/`) ? ORDER.indexOf(file) : -1;
  const place = named === -1 ? ORDER.indexOf(project) : named;
  return place === -1 ? ORDER.length : place;
}

/** The same specifications in the order in which they begin. Within a place they keep their order. */
export function inOrder<Spec>(specs: readonly Spec[], placed: (spec: Spec) => Placed): Spec[] {
  return specs.toSorted((a, b) => {
    const [first, second] = [placed(a), placed(b)];
    return first.group - second.group || placeOf(first) - placeOf(second);
  });
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
